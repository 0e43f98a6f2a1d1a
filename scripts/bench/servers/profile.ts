interface Frame {
  functionName: string;
  url: string;
  lineNumber: number;
}

/** The part of a .cpuprofile that matters here. */
export interface Profile {
  nodes: { id: number; callFrame: Frame }[];
  samples: number[];
}

/** Where the time went that was not idle: shares from 0 to 1, the largest first. */
export interface SelfTimes {
  functions: Share[];
  /** Packages, parts of Node, and folders of the gateway. */
  parts: Share[];
}
export interface Share {
  name: string;
  share: number;
}

const idle = '(idle)';

export function selfTimes({ nodes, samples }: Profile): SelfTimes {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const busy = samples.flatMap((id) => frames.get(id) ?? []).filter(({ functionName }) => functionName !== idle);
  const shares = (nameOf: (frame: Frame) => string): Share[] => {
    const counts = new Map<string, number>();
    for (const frame of busy) counts.set(nameOf(frame), (counts.get(nameOf(frame)) ?? 0) + 1);
    return [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => ({ name, share: count / busy.length }));
  };
  return { functions: shares(functionOf), parts: shares(partOf) };
}

const shortUrl = (url: string) => url.replace(/^.*\/(?=node_modules\/|dist\/)/, '');

const functionOf = ({ functionName, url, lineNumber }: Frame) =>
  `${functionName || '(anonymous)'}${url && ` ${shortUrl(url)}:${lineNumber + 1}`}`;

function partOf({ functionName, url }: Frame): string {
  // the collector and the engine speak for themselves; the rest without a file is C++, most of it writes to sockets
  if (!url) return functionName.startsWith('(') ? functionName : 'native';
  const path = shortUrl(url);
  const part = /^node_modules\/(?:@[^/]+\/)?[^/]+|^dist\/(?:src\/[\w-]+|\w+)|^node:[\w]+(?:\/[\w]+)?/.exec(path);
  return part?.[0].replace(/^dist\//, '') ?? path;
}
