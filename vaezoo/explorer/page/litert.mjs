// LiteRT.js without its web layer, which fetches files: the WebAssembly module and its networks, from bytes in memory.

/** Start LiteRT.js; returns bytes of a .tflite file → a Network. The script defines the global ModuleFactory. */
export async function started(script, wasmBinary) {
  const element = document.createElement("script");
  element.textContent = script;
  document.head.append(element);
  const quiet = { print: () => {}, printErr: (line) => console.debug(line) };
  const wasm = await globalThis.ModuleFactory({ wasmBinary, ...quiet });
  wasm.setupLogging();
  const environment = wasm.LiteRtEnvironment.create(null);
  return async (bytes) => {
    const place = wasm._malloc(bytes.length); // never freed: the model reads its weights there
    wasm.HEAPU8.set(bytes, place);
    const model = wasm.loadModel(environment, place, bytes.length);
    const options = { environment, accelerator: "wasm", cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {} };
    return new Network(wasm, environment, model, await wasm.compileModel(environment, model, options));
  };
}

/** One network, with a batch of 1. Calls wait for each other. */
class Network {
  constructor(wasm, environment, model, compiled) {
    this.wasm = wasm;
    this.compiled = compiled;
    const signature = model.getSignature(0);
    this.outputs = list(signature.outputNames());
    this.inputs = list(signature.inputNames()).map((name, index) => {
      const type = model.getInputTensorType(0, index);
      const kind = wasm.LiteRtTensorBufferType.HOST_MEMORY;
      return { name, buffer: wasm.LiteRtTensorBuffer.createManaged(environment, kind, type, type.bytes()) };
    });
    this.last = Promise.resolve();
  }

  /** Typed arrays by name → typed arrays by name. */
  run(given) {
    const result = this.last.then(() => this.runNow(given));
    this.last = result.catch(() => {});
    return result;
  }

  async runNow(given) {
    const mode = this.wasm.LiteRtTensorBufferLockMode;
    for (const { name, buffer } of this.inputs) {
      const values = given[name];
      const place = buffer.lock(mode.WRITE);
      this.wasm.HEAPU8.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), place);
      buffer.unlock();
    }
    const buffers = await this.compiled.run(0, this.inputs.map((input) => input.buffer));
    const results = {};
    buffers.forEach((buffer, index) => {
      const place = buffer.lock(mode.READ);
      const copy = this.wasm.HEAPU8.slice(place, place + buffer.packedSize()).buffer;
      buffer.unlock();
      const integers = buffer.tensorType().elementType().value === 2; // int32: tokens; all else is float32
      results[this.outputs[index]] = integers ? new Int32Array(copy) : new Float32Array(copy);
      buffer.delete();
    });
    return results;
  }
}

function list(vector) {
  return Array.from({ length: vector.size() }, (_, index) => vector.get(index));
}
