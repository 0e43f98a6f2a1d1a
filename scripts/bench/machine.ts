import { existsSync, readdirSync, readFileSync } from 'node:fs';

/** Linux reports CPU time in these. */
const tickMs = 10;

interface Program {
  parent: number;
  ticks: number;
}

/**
 * CPU time that programs besides this one and its children have used, and the machine's host has kept back, in milliseconds since some
 * time; undefined where there is no /proc. The total of /proc/stat minus our own would not do: it is sampled, ours is exact.
 */
export function otherProgramsMs(): number | undefined {
  if (!existsSync('/proc/self/stat')) return undefined;
  const programs = readPrograms();
  const isOurs = (pid: number): boolean => pid === process.pid || (pid > 1 && isOurs(programs.get(pid)?.parent ?? 0));
  let ticks = Number(readFileSync('/proc/stat', 'latin1').split('\n')[0]?.split(/\s+/)[8] ?? 0);
  for (const [pid, program] of programs) if (!isOurs(pid)) ticks += program.ticks;
  return ticks * tickMs;
}

function readPrograms(): Map<number, Program> {
  const programs = new Map<number, Program>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      // behind the name, which may hold anything
      const fields = readFileSync(`/proc/${name}/stat`, 'latin1').split(') ').at(-1)?.split(' ') ?? [];
      // with what its ended children used: the total stays as it is when a program ends
      const ticks = [11, 12, 13, 14].reduce((total, at) => total + Number(fields[at]), 0);
      programs.set(Number(name), { parent: Number(fields[1]), ticks });
    } catch {
      // it has just ended
    }
  }
  return programs;
}
