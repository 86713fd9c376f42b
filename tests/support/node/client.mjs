// Walks one kernel through its life with JupyterLab's client library and prints what it saw as one JSON object.
import { KernelManager, KernelSpecManager, ServerConnection } from '@jupyterlab/services';
import WebSocket from 'ws';

const [baseUrl, token, name] = process.argv.slice(2);
const serverSettings = ServerConnection.makeSettings({
  baseUrl,
  wsUrl: baseUrl.replace(/^http/, 'ws'),
  token,
  appendToken: true,
  WebSocket,
});
const seen = {};

// A browser logs these. The library gives up its own requests when a kernel dies, and nobody waits for them.
process.on('unhandledRejection', error => console.error(String(error)));

// The managers poll on their own; what is asked for here is asked for explicitly.
const specs = new KernelSpecManager({ serverSettings, standby: 'never' });
await specs.ready;
seen.specs = Object.keys(specs.specs.kernelspecs);
seen.default = specs.specs.default;

const kernels = new KernelManager({ serverSettings, standby: 'never' });
await kernels.ready;
const kernel = await kernels.startNew({ name });
seen.id = kernel.id;
seen.banner = (await kernel.info).implementation;

async function run(code, options = {}) {
  const outputs = [];
  const future = kernel.requestExecute({ code, allow_stdin: true }, false);
  future.onIOPub = message => {
    outputs.push([message.header.msg_type, message.content]);
    options.onIOPub?.(message);
  };
  future.onStdin = message => {
    if (message.header.msg_type === 'input_request') {
      future.sendInputReply({ value: 'Ada', status: 'ok' }, message.header);
    }
  };
  const reply = await future.done;
  future.dispose();
  const text = outputs.filter(([type]) => type === 'stream').map(([, content]) => content.text).join('');
  return { text, reply: reply.content, types: outputs.map(([type]) => type) };
}

seen.cell = await run("print('Ω'); 6 * 7");
seen.input = (await run("print(input('name? '))")).text;

const interrupted = await run("import time; print('on', flush=True); time.sleep(60)", {
  onIOPub: message => message.header.msg_type === 'stream' && kernel.interrupt(),
});
seen.interrupted = interrupted.reply.ename;

await run(`
from comm import get_comm_manager
def opened(comm, message):
    comm.on_msg(lambda message: comm.send({}, buffers=[bytes(part)[::-1] for part in message["buffers"]]))
get_comm_manager().register_target("echo", opened)
`);
const comm = kernel.createComm('echo');
const echoed = new Promise(resolve => {
  comm.onMsg = message => resolve(message.buffers.map(part => Array.from(new Uint8Array(part.buffer ?? part))));
});
await comm.open({}).done;
await comm.send({}, {}, [new Uint8Array([0, 1, 254, 255]).buffer]).done;
seen.echoed = await echoed;

const statuses = [];
kernel.statusChanged.connect((_, status) => statuses.push(status));
await kernel.restart();
seen.afterRestart = (await run("print('time' in globals())")).text;
seen.restartStatuses = statuses.splice(0);
// Whatever the library asked on its own way through the restart has got its reply and its idle status.
for (let i = 0; i < 100 && kernel._futures.size > 0; i++) {
  await new Promise(resolve => setTimeout(resolve, 20));
}
seen.unanswered = Array.from(kernel._futures.values(), future => future.msg.header.msg_type);

const died = new Promise(resolve => {
  kernel.statusChanged.connect((_, status) => status === 'autorestarting' && resolve(status));
});
kernel.requestExecute({ code: 'import os; os._exit(1)' }).done.catch(() => undefined);
seen.died = await died;
while (kernel.connectionStatus !== 'connected' || kernel.status !== 'idle') {
  await new Promise(resolve => setTimeout(resolve, 20));
}
seen.afterDeath = (await run('print(1)')).text;

seen.dropped = await new Promise((resolve, reject) => {
  // A lost connection: the library opens it again by itself with the same session.
  kernel.connectionStatusChanged.connect((_, status) => status === 'connected' && resolve('reconnected'));
  setTimeout(() => reject(new Error('no reconnection')), 15000).unref();
  kernel._ws.terminate();
});
seen.afterDrop = (await run('print(2)')).text;

await kernel.shutdown();
await kernels.refreshRunning();
seen.running = Array.from(kernels.running(), model => model.id);
console.log(JSON.stringify(seen));
process.exit(0);
