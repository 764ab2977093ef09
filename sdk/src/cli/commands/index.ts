/** The list of commands, in the order of the data. To add one: its file and its line here. */
import type { Command } from 'commander';
import type { Session } from '../session.ts';
import { addBench } from './bench.ts';
import { addExportOnnx } from './export-onnx.ts';
import { addGenerate } from './generate.ts';
import { addInspect } from './inspect.ts';
import { addList } from './list.ts';
import { addParity } from './parity.ts';
import { addQuantize } from './quantize.ts';
import { addServe } from './serve.ts';
import { addVerify } from './verify.ts';

/** Adds itself to the program and returns itself. */
export type AddCommand = (program: Command, session: Session) => Command;

export const commands: readonly AddCommand[] = [
  addQuantize,
  addInspect,
  addVerify,
  addGenerate,
  addParity,
  addExportOnnx,
  addServe,
  addBench,
  addList,
];
