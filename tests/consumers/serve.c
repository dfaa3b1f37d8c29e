/* Loads a SavedModel as TensorFlow's server does, with the "serve" tag and no Python, and runs signatures by name.

       serve MODEL_DIR < requests > answers

   A request is a signature's name, the number of its inputs, and for each input its name, its type (1 float32, 3 int32),
   its rank, its sizes and, in the bytes that follow the line, its values. An answer is a line for each output with its
   name, its rank and its sizes, then its values as float32; an empty line ends it. The names of the tensors in the graph
   come from the signatures in the MetaGraphDef, which is read here field by field: a C program has no protobuf. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

typedef struct { const uint8_t *at, *end; } Bytes;
typedef struct { int number; Bytes bytes; } Field; /* of length-delimited kind; others have no bytes */

static void fail(const char* what) {
  fprintf(stderr, "serve: %s\n", what);
  exit(1);
}

static uint64_t varint(Bytes* b) {
  uint64_t value = 0;
  for (int shift = 0; b->at < b->end && shift < 64; shift += 7) {
    uint8_t byte = *b->at++;
    value |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) break;
  }
  return value;
}

static int next_field(Bytes* b, Field* field) {
  if (b->at >= b->end) return 0;
  uint64_t tag = varint(b);
  field->number = (int)(tag >> 3);
  field->bytes.at = field->bytes.end = b->at;
  switch (tag & 7) {
    case 0: varint(b); break;
    case 1: b->at += 8; break;
    case 5: b->at += 4; break;
    case 2: {
      uint64_t size = varint(b);
      if (size > (uint64_t)(b->end - b->at)) fail("the MetaGraphDef is cut short");
      field->bytes.at = b->at;
      field->bytes.end = b->at += size;
      break;
    }
    default: fail("the MetaGraphDef cannot be read");
  }
  return 1;
}

static int equals(Bytes b, const char* text) {
  return (size_t)(b.end - b.at) == strlen(text) && !memcmp(b.at, text, strlen(text));
}

/* In a map field, the entry number `index` whose key is `key` (any if NULL): its key and its value. */
static int map_entry(Bytes message, int number, int index, const char* key, Bytes* found_key, Bytes* value) {
  Field field, part;
  while (next_field(&message, &field)) {
    if (field.number != number) continue;
    Bytes k = {0}, v = {0}, entry = field.bytes;
    while (next_field(&entry, &part)) *(part.number == 1 ? &k : &v) = part.bytes;
    if (key && !equals(k, key)) continue;
    if (index--) continue;
    if (found_key) *found_key = k;
    *value = v;
    return 1;
  }
  return 0;
}

/* The graph's output that a TensorInfo names as "operation:index". */
static TF_Output tensor(TF_Graph* graph, Bytes info) {
  Field field;
  while (next_field(&info, &field)) {
    if (field.number != 1) continue;
    char name[512];
    size_t size = (size_t)(field.bytes.end - field.bytes.at);
    if (size >= sizeof name) fail("a tensor's name is too long");
    memcpy(name, field.bytes.at, size);
    name[size] = 0;
    char* colon = strrchr(name, ':');
    if (!colon) fail("a tensor's name has no index");
    *colon = 0;
    TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
    if (!output.oper) fail("the graph lacks a tensor of the signature");
    return output;
  }
  fail("a tensor has no name");
  exit(1);
}

static TF_Tensor* read_tensor(int type, int rank) {
  int64_t sizes[8], count = 1;
  if (rank > 8) fail("too many axes");
  for (int i = 0; i < rank; i++) {
    if (scanf("%ld", &sizes[i]) != 1) fail("a size is missing");
    count *= sizes[i];
  }
  if (getchar() != '\n') fail("the line is too long");
  TF_Tensor* values = TF_AllocateTensor((TF_DataType)type, sizes, rank, (size_t)count * 4);
  if (fread(TF_TensorData(values), 4, (size_t)count, stdin) != (size_t)count) fail("values are missing");
  return values;
}

static void write_tensor(Bytes name, TF_Tensor* values) {
  if (TF_TensorType(values) != TF_FLOAT) fail("an output is not float32");
  printf("%.*s %d", (int)(name.end - name.at), (const char*)name.at, TF_NumDims(values));
  for (int i = 0; i < TF_NumDims(values); i++) printf(" %ld", (long)TF_Dim(values, i));
  printf("\n");
  fwrite(TF_TensorData(values), 1, TF_TensorByteSize(values), stdout);
}

int main(int argc, char** argv) {
  if (argc != 2) fail("usage: serve MODEL_DIR");
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_Buffer* meta_graph = TF_NewBuffer();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(TF_NewSessionOptions(), NULL, argv[1], tags, 1, graph,
                                                     meta_graph, status);
  if (TF_GetCode(status) != TF_OK) fail(TF_Message(status));
  Bytes meta = {meta_graph->data, (const uint8_t*)meta_graph->data + meta_graph->length};

  char name[128], input_name[128];
  int input_count;
  while (scanf("%127s %d", name, &input_count) == 2) {
    Bytes signature, info, key;
    if (!map_entry(meta, 5, 0, name, NULL, &signature)) fail("there is no such signature"); /* 5: signature_def */
    TF_Output inputs[8], outputs[8];
    TF_Tensor *given[8], *got[8] = {0};
    Bytes names[8];
    for (int i = 0; i < input_count; i++) {
      int type, rank;
      if (scanf("%127s %d %d", input_name, &type, &rank) != 3) fail("an input is missing");
      if (!map_entry(signature, 1, 0, input_name, NULL, &info)) fail("there is no such input"); /* 1: inputs */
      inputs[i] = tensor(graph, info);
      given[i] = read_tensor(type, rank);
    }
    int output_count = 0;
    while (output_count < 8 && map_entry(signature, 2, output_count, NULL, &key, &info)) { /* 2: outputs */
      names[output_count] = key;
      outputs[output_count++] = tensor(graph, info);
    }
    TF_SessionRun(session, NULL, inputs, given, input_count, outputs, got, output_count, NULL, 0, NULL, status);
    if (TF_GetCode(status) != TF_OK) fail(TF_Message(status));
    for (int i = 0; i < output_count; i++) {
      write_tensor(names[i], got[i]);
      TF_DeleteTensor(got[i]);
    }
    for (int i = 0; i < input_count; i++) TF_DeleteTensor(given[i]);
    printf("\n");
    fflush(stdout);
  }
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteGraph(graph);
  TF_DeleteBuffer(meta_graph);
  TF_DeleteStatus(status);
  return 0;
}
