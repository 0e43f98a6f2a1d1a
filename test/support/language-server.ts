import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { root } from './process.ts';

interface Message {
  id?: number | string;
  method?: string;
  result?: unknown;
  error?: { message: string };
}

/**
 * What an editor shows of a file in a folder: asks TypeScript's own language server.
 * @param marks texts of the source; asked for is the name at the first letter of each
 * @returns the quick info of each
 */
export async function quickInfo(folder: string, file: string, source: string, marks: readonly string[]): Promise<string[]> {
  const child = spawn(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '--lsp', '--stdio'], {
    cwd: folder,
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const exited = once(child, 'exit');
  const waiting = new Map<unknown, (answer: Message) => void>();
  void exited.then(() => {
    for (const settle of waiting.values()) settle({ error: { message: 'the language server ended' } });
  });
  const send = (message: object) => {
    const text = JSON.stringify({ jsonrpc: '2.0', ...message });
    child.stdin.write(`Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
  };
  const ask = async (method: string, params: object | null): Promise<unknown> => {
    const id = waiting.size + 1;
    const { result, error } = await new Promise<Message>((settle) => {
      waiting.set(id, settle);
      send({ id, method, params });
    });
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  };
  let bytes: Buffer = Buffer.alloc(0);
  child.stdout.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      const end = bytes.indexOf('\r\n\r\n');
      const from = end + 4;
      const length = Number(/Content-Length: (\d+)/i.exec(bytes.toString('latin1', 0, Math.max(end, 0)))?.[1]);
      if (end < 0 || bytes.length < from + length) return;
      const message: Message = JSON.parse(bytes.toString('utf8', from, from + length));
      bytes = bytes.subarray(from + length);
      if (message.method === undefined) waiting.get(message.id)?.(message);
      // it asks for settings, and is told that there are none
      else if (message.id !== undefined) send({ id: message.id, result: message.method === 'workspace/configuration' ? [{}] : null });
    }
  });
  try {
    const uri = pathToFileURL(join(folder, file)).href;
    await ask('initialize', { processId: process.pid, rootUri: pathToFileURL(folder).href, capabilities: {} });
    send({ method: 'initialized', params: {} });
    send({ method: 'textDocument/didOpen', params: { textDocument: { uri, languageId: 'typescript', version: 1, text: source } } });
    const shown: string[] = [];
    for (const mark of marks) {
      const before = source.slice(0, source.indexOf(mark)).split('\n');
      const position = { line: before.length - 1, character: before.at(-1)?.length };
      const hover = (await ask('textDocument/hover', { textDocument: { uri }, position })) as { contents: { value: string } } | null;
      shown.push(hover?.contents.value ?? '');
    }
    return shown;
  } finally {
    child.kill();
    await exited;
  }
}
