// npx eslint@9 -c tools/eslint.config.mjs vaezoo/explorer/page tests/page

const browser = [
  "AudioContext", "Blob", "DecompressionStream", "ImageData", "Response", "ResizeObserver", "TextDecoder", "cancelAnimationFrame",
  "clearTimeout", "console", "document", "getComputedStyle", "matchMedia", "performance", "requestAnimationFrame", "setTimeout",
];

export default [
  {
    files: ["**/*.mjs"],
    languageOptions: { ecmaVersion: 2022, sourceType: "module", globals: Object.fromEntries(browser.map((name) => [name, "readonly"])) },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "no-undef": "error", "no-unused-vars": "error", "no-redeclare": "error", "no-shadow": "error", "prefer-const": "error",
      "no-var": "error", eqeqeq: "error", "no-unreachable": "error", "no-dupe-keys": "error", "no-const-assign": "error",
      "no-implicit-globals": "error", "no-eval": "error", "no-implied-eval": "error", "no-new-func": "error",
      "valid-typeof": "error", "use-isnan": "error", "array-callback-return": "error", "no-self-assign": "error",
      "object-shorthand": "error", "prefer-template": "error", "max-len": ["error", { code: 140, ignoreStrings: true, ignoreTemplateLiterals: true }],
    },
  },
];
