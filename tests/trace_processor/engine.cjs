// Perfetto's trace_processor.wasm as a filter: RPC requests on stdin, RPC replies on stdout.
//
//     node engine.cjs DIRECTORY      # holds engine_bundle.js and trace_processor*.wasm
//
// The bundle was made for a web worker, and is run unchanged. It expects of a worker: a `self`
// that receives a message port, and a synchronous XMLHttpRequest with which to read its wasm.
// Both are played here; everything else that it finds (TextDecoder, performance, ...) is node's.
'use strict';
const fs = require('node:fs');
const path = require('node:path');
const vm = require('node:vm');

const directory = process.argv[2];

/** Answers a request for a file of the bundle from the disk. */
class FileRequest {
  open(_method, url) {
    this.file = path.join(directory, path.basename(url));
  }

  send() {
    this.response = new Uint8Array(fs.readFileSync(this.file)).buffer;
    this.status = 200;
  }

  setRequestHeader() {}

  overrideMimeType() {}
}

/** Writes all of it before it returns: a full pipe (EAGAIN) is asked again. */
function write(bytes) {
  let done = 0;
  while (done < bytes.length) {
    try {
      done += fs.writeSync(1, bytes, done);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
  }
}

function startEngine(port) {
  const say = (...words) => process.stderr.write(`${words.join(' ')}\n`);
  const location = {href: 'http://localhost/engine_bundle.js'};
  const worker = {location};
  const world = vm.createContext({
    self: worker,
    location,
    WorkerGlobalScope: class {},
    XMLHttpRequest: FileRequest,
    console: {log: say, warn: say, error: say},
    crypto: globalThis.crypto,
    performance, setTimeout, clearTimeout, TextDecoder, TextEncoder, URL,
  });
  const bundle = path.join(directory, 'engine_bundle.js');
  vm.runInContext(fs.readFileSync(bundle, 'utf8'), world, {filename: bundle});
  worker.onmessage({data: port});
  // the bundle asserts that a request is a Uint8Array, and means the one of its own world
  return vm.runInContext('Uint8Array', world);
}

const port = {postMessage: write};
const WorldBytes = startEngine(port);
process.stdin.on('data', (chunk) => port.onmessage({data: WorldBytes.from(chunk)}));
process.stdin.on('end', () => process.exit(0));
