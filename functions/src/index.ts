/** The endpoint of edge-dit: the app, and the targets on which it runs. */
export { type AppOptions, createApp, createEndpoint, type EndpointOptions } from './app.ts';
export { DEFAULT_LIMITS, type Limits } from './limits.ts';
export type { Served } from './listen.ts';
export { ModelHost, type ModelHostOptions, type ModelState } from './model-host.ts';
export { PROBLEMS, type ProblemCode, type ProblemDetails, problemType } from './problem.ts';
export { type ServeWorkerdOptions, serveWorkerd } from './serve-workerd.ts';
export { targetByName, targets } from './targets/index.ts';
export { serveNode } from './targets/node.ts';
export type { ServeOptions, Target } from './targets/target.ts';
