/**
 * A lock file, for one writer at a time among processes that share a folder. It says who holds it: a lock whose process
 * has died on this machine is broken, by one process at a time; any other holder is waited for, as it may be alive.
 */
import { randomUUID } from 'node:crypto';
import { link, readFile, rm, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { EdgeDitError } from '../errors.ts';

/** A holder checks one etag and renames one file: milliseconds. */
const WAIT_MS = 5000;
const POLL_MS = 20;
/** Ends the names of files beside the locks that a process which was killed may leave. */
export const DRAFT = '.draft';

/** Process numbers come again: another process that once had ours is told by the random part. */
const INSTANCE = randomUUID();
/** Asked for when a lock is taken: hosts with permissions, such as Deno, let readers do without it. */
const ownName = () => `${process.pid} ${INSTANCE} ${hostname()}`;

const hasCode = (error: unknown, code: string) => (error as NodeJS.ErrnoException)?.code === code;

/**
 * Runs `work` while no other process does so for the same `path`; `what` is what it locks, for messages.
 * @throws EdgeDitError `store-failed` where another process holds it for 5 seconds
 */
export async function withFileLock(path: string, what: string, work: () => Promise<void>): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await tryLock(path))) {
    if (Date.now() > deadline) {
      throw new EdgeDitError(
        'store-failed',
        `${what} is locked by another process; if none is publishing, delete ${path}.`,
      );
    }
    if (!(await breakDead(path))) await new Promise((wake) => setTimeout(wake, POLL_MS));
  }
  try {
    await work();
  } finally {
    await rm(path, { force: true });
  }
}

/** By a link to a file that is whole: a lock never stands without its holder's name. */
async function tryLock(path: string): Promise<boolean> {
  const draft = `${path}.${randomUUID()}${DRAFT}`;
  try {
    await writeFile(draft, ownName(), { flag: 'wx' });
    await link(draft, path);
    return true;
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/** Only who holds the second lock removes a dead one, so that nobody removes the lock that came after it. */
async function breakDead(path: string): Promise<boolean> {
  if (!(await isDead(path))) return false;
  const breaker = `${path}.break`;
  if (!(await tryLock(breaker))) return false;
  try {
    if (!(await isDead(path))) return false;
    await rm(path, { force: true });
    return true;
  } finally {
    await rm(breaker, { force: true });
  }
}

async function isDead(path: string): Promise<boolean> {
  const holder = await readFile(path, 'utf8').catch(() => '');
  const [, pid, instance, host] = /^(\d+) (\S+) (.*)$/.exec(holder) ?? [];
  if (pid === undefined || host !== hostname()) return false;
  if (Number(pid) === process.pid) return instance !== INSTANCE;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return hasCode(error, 'ESRCH');
  }
}
