/** The list of commands, in the order of the data. To add one: its file and its line here. */
import type { Command } from 'commander';
import type { Session } from '../session.ts';
import { addAnalyze } from './analyze.ts';
import { addBench } from './bench.ts';
import { addBundle } from './bundle.ts';
import { addCalibrate } from './calibrate.ts';
import { addCompare } from './compare.ts';
import { addCopy } from './copy.ts';
import { addDev } from './dev.ts';
import { addEval } from './eval.ts';
import { addExportOnnx } from './export-onnx.ts';
import { addGenerate } from './generate.ts';
import { addInit } from './init.ts';
import { addInspect } from './inspect.ts';
import { addKeygen } from './keygen.ts';
import { addList } from './list.ts';
import { addMix } from './mix.ts';
import { addParity } from './parity.ts';
import { addPlan } from './plan.ts';
import { addPrune } from './prune.ts';
import { addPublish } from './publish.ts';
import { addQuantize } from './quantize.ts';
import { addRollback } from './rollback.ts';
import { addServe } from './serve.ts';
import { addSign } from './sign.ts';
import { addVerify } from './verify.ts';

/** Adds itself to the program and returns itself. */
export type AddCommand = (program: Command, session: Session) => Command;

export const commands: readonly AddCommand[] = [
  addCalibrate,
  addAnalyze,
  addMix,
  addQuantize,
  addPublish,
  addInspect,
  addPlan,
  addVerify,
  addGenerate,
  addParity,
  addEval,
  addCompare,
  addExportOnnx,
  addServe,
  addInit,
  addDev,
  addBundle,
  addBench,
  addList,
  addCopy,
  addRollback,
  addPrune,
  addKeygen,
  addSign,
];
