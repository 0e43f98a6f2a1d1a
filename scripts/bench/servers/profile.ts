interface Frame {
  functionName: string;
  url: string;
  lineNumber: number;
}
interface Node {
  id: number;
  callFrame: Frame;
  children?: number[];
}

/** The part of a .cpuprofile that matters here. */
export interface Profile {
  nodes: Node[];
  samples: number[];
}

/** Where the time went that was not idle: shares from 0 to 1, the largest first. */
export interface Times {
  functions: Share[];
  /** Folders of the gateway and packages, each with what it has Node and the system do for it. */
  parts: Share[];
}
export interface Share {
  name: string;
  share: number;
}

export function times({ nodes, samples }: Profile): Times {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const parents = new Map(nodes.flatMap((node) => (node.children ?? []).map((child) => [child, node])));
  const busy = samples.flatMap((id) => byId.get(id) ?? []).filter(({ callFrame }) => callFrame.functionName !== '(idle)');

  const shares = (nameOf: (node: Node) => string): Share[] => {
    const names = new Map(nodes.map((node) => [node, nameOf(node)]));
    const counts = new Map<string, number>();
    for (const node of busy) {
      const name = names.get(node) ?? '';
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    return [...counts].sort(([, a], [, b]) => b - a).map(([name, count]) => ({ name, share: count / busy.length }));
  };
  /** Of the nearest caller that is somebody's. */
  const causeOf = (node: Node): string => {
    for (let at: Node | undefined = node; at; at = parents.get(at.id)) {
      const part = partOf(at.callFrame);
      if (part !== undefined) return part;
    }
    return 'Node';
  };
  return { functions: shares(({ callFrame }) => functionOf(callFrame)), parts: shares(causeOf) };
}

const functionOf = ({ functionName, url, lineNumber }: Frame) =>
  `${functionName || '(anonymous)'}${url && ` ${shortUrl(url)}:${lineNumber + 1}`}`;

const shortUrl = (url: string) => (/.*\/(node_modules\/.*)/.exec(url) ?? /.*\/(dist\/.*)/.exec(url))?.[1] ?? url;

function partOf({ functionName, url }: Frame): string | undefined {
  // the garbage collector, and what the profiler cannot name
  if (/^\((?!root|anonymous)/.test(functionName)) return functionName;
  if (url.includes('/deps/undici/')) return 'undici';
  return /^(?:node_modules\/(?:@[^/]+\/)?[^/]+|dist\/(?:src\/)?[\w-]+)/.exec(shortUrl(url))?.[0].replace('dist/', '');
}
