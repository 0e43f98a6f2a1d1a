import { expect, test, vi } from 'vitest';
import { Emitter } from '../../src/client/emitter.ts';

interface Events {
  said: string;
  counted: number;
}

test('handlers are called in order until they are taken back, also the same one twice', () => {
  const emitter = new Emitter<Events>();
  const said: string[] = [];
  const push = (text: string) => said.push(text);
  const off = emitter.on('said', push);
  emitter.on('said', (text) => said.push(text.toUpperCase()));
  emitter.on('said', push);
  emitter.on('counted', () => said.push('never'));
  emitter.emit('said', 'a');
  off();
  off();
  emitter.emit('said', 'b');
  expect(said).toEqual(['a', 'A', 'a', 'B', 'b']);
});

test('a handler taken back by another one is still called this once', () => {
  const emitter = new Emitter<Events>();
  const said: string[] = [];
  emitter.on('said', () => off());
  const off = emitter.on('said', (text) => said.push(text));
  emitter.emit('said', 'a');
  emitter.emit('said', 'b');
  expect(said).toEqual(['a']);
});

test('what a handler throws reaches neither the others nor the caller, and is not lost', () => {
  const outside = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => {});
  const emitter = new Emitter<Events>();
  const said: string[] = [];
  emitter.on('said', () => {
    throw new Error('a bug');
  });
  emitter.on('said', (text) => said.push(text));
  emitter.emit('said', 'a');
  expect(said).toEqual(['a']);
  expect(outside.mock.calls[0]?.[0]).toThrow('a bug');
  outside.mockRestore();
});
