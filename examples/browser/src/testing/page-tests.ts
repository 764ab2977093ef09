/** For tests: the runtime's own tests of its engines, as a module that a page loads. See `bundlePageTests`. */
import { type PageTestReport, runTests } from './node-test.ts';
import '@edge-dit/runtime/engines/conformance.test';
import '@edge-dit/runtime/engines/activations.test';

declare global {
  var runPageTests: () => Promise<PageTestReport>;
}

globalThis.runPageTests = () => runTests((name) => console.log(name));
