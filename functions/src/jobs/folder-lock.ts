/** A folder for one process at a time. The file `lock` names its process; that of a process that is gone is taken over. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EdgeDitError } from '@edge-dit/runtime/errors';

/** @returns what gives the folder free. @throws EdgeDitError `invalid-argument` when another process has it */
export async function lockFolder(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, 'lock');
  for (let tries = 0; tries < 2; tries++) {
    try {
      await writeFile(path, identity(process.pid, await startOf(process.pid)), { flag: 'wx' });
      return () => rm(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const held = await readFile(path, 'utf8').catch(() => '');
    const pid = Number(held.split(' ')[0]);
    if (await lives(pid, held)) {
      throw new EdgeDitError(
        'invalid-argument',
        `${folder} is in use by process ${pid}, which runs the jobs in it; stop it, or choose another folder.`,
      );
    }
    await rm(path, { force: true });
  }
  throw new EdgeDitError('invalid-argument', `${folder} was taken by another process; choose another folder.`);
}

const identity = (pid: number, start: string) => `${pid} ${start}`;

/** Numbers of processes are used again; together with when it started, where the system tells, one is meant. */
async function lives(pid: number, held: string): Promise<boolean> {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return identity(pid, await startOf(pid)) === held;
}

/** Of /proc, in ticks since the machine started; nothing elsewhere. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}
