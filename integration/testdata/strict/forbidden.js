try {
  globalThis.evaluated = eval('true');
} catch (error) {
  globalThis.refused = error.name;
}
