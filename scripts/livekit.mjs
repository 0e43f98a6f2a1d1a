// `npm run livekit`: finds a LiveKit server, or builds one with Go, and runs it on loopback with the dev keys until Ctrl-C.
// With --get it only gets it and prints its path.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

// newer ones have replace directives, which `go install` refuses
const version = 'v1.13.5';
const tools = join(dirname(fileURLToPath(import.meta.url)), '../.tools');
const exe = process.platform === 'win32' ? '.exe' : '';
const ours = join(tools, `livekit-server${exe}`);

const config = {
  port: 7880,
  bind_addresses: ['127.0.0.1'],
  rtc: {
    tcp_port: 7881,
    udp_port: 7882,
    node_ip: '127.0.0.1',
    use_external_ip: false,
    // without these two, media goes to every address but loopback
    enable_loopback_candidate: true,
    ips: { includes: ['127.0.0.1/32'] },
  },
  keys: { devkey: 'secret' },
  // --dev would make it debug
  logging: { level: 'info' },
};

const otherWays = `livekit-server was not found, and building it needs Go 1.26 or newer. Other ways to get it:
  macOS    brew install livekit
  Docker   docker run --rm -p 7880:7880 -p 7881:7881 -p 7882:7882/udp livekit/livekit-server --dev --bind 0.0.0.0
  others   https://github.com/livekit/livekit/releases (unpack livekit-server into .tools/ or a folder on PATH)`;

const fail = (text) => {
  console.error(text);
  process.exit(1);
};

const isProgram = (path) => {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
};

const find = () => {
  const chosen = process.env.LIVEKIT_SERVER_BIN;
  // a wrong choice is reported, not replaced by another server
  if (chosen) return isProgram(chosen) ? chosen : fail(`LIVEKIT_SERVER_BIN=${chosen} is not a program`);
  const folders = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return [...folders.map((folder) => join(folder, `livekit-server${exe}`)), ours].find(isProgram);
};

const hasGo = () => {
  const [, major, minor] = /go(\d+)\.(\d+)/.exec(spawnSync('go', ['version'], { encoding: 'utf8' }).stdout ?? '') ?? [];
  return Number(major) > 1 || (Number(major) === 1 && Number(minor) >= 26);
};

const buildWithGo = () => {
  if (!hasGo()) fail(otherWays);
  console.error(`building livekit-server ${version} with Go, once; about two minutes ...`);
  mkdirSync(tools, { recursive: true });
  // in a folder of its own and then renamed: the program is called `server`, and a half-written one must not be found
  const folder = mkdtempSync(join(tools, 'go-'));
  const target = `github.com/livekit/livekit-server/cmd/server@${version}`;
  // stdout goes to stderr: with --get our stdout is the path alone
  const built = spawnSync('go', ['install', target], { cwd: folder, env: { ...process.env, GOBIN: folder }, stdio: ['ignore', 2, 2] });
  if (built.status === 0) renameSync(join(folder, `server${exe}`), ours);
  rmSync(folder, { recursive: true, force: true });
  return built.status === 0 ? ours : fail('go install failed, see above');
};

const run = (program) => {
  console.error(`${program} on ws://127.0.0.1:${config.port}, key devkey, secret "secret"; Ctrl-C stops it`);
  // its own group, so that Ctrl-C reaches it once, through us
  // without --dev it complains, with a stack, that the secret is short
  const child = spawn(program, ['--dev', '--config-body', JSON.stringify(config)], { stdio: 'inherit', detached: true });
  let lastSignal = 0;
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      // npm delivers one Ctrl-C twice
      if (Date.now() - lastSignal > 1_000) child.kill('SIGTERM');
      lastSignal = Date.now();
      // its second signal makes it stop at once; one that comes while it starts has no effect
      setTimeout(() => child.kill('SIGTERM'), 2_000).unref();
      setTimeout(() => child.kill('SIGKILL'), 5_000).unref();
    });
  }
  child.on('error', (error) => fail(`${program} did not start: ${error.message}`));
  // it ends with 0 also when its port is taken
  child.on('exit', (code) => process.exit(lastSignal > 0 ? 0 : code || 1));
};

const program = find() ?? buildWithGo();
if (process.argv.includes('--get')) console.log(program);
else run(program);
