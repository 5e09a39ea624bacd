// Uploads a file in pieces, breaks off on the way, goes on, and says where the upload is.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { basename } from "node:path";

const tus = createRequire(`${process.env.CLIENTS}/node/`)("tus-js-client");
const [endpoint, path] = process.argv.slice(2);
const bytes = readFileSync(path);
let broken = false;
const upload = new tus.Upload(bytes, {
  endpoint,
  chunkSize: 4 << 20,
  retryDelays: [0, 50, 200, 500, 1000],
  metadata: { filename: basename(path), filetype: "application/zip" },
  uploadDataDuringCreation: true,
  onError: (error) => {
    console.error(error);
    process.exit(1);
  },
  onProgress: (sent) => {
    if (!broken && sent > bytes.length / 3) {
      broken = true;
      upload.abort().then(() => upload.start());
    }
  },
  onSuccess: () => {
    if (!broken) throw new Error("it was never broken off");
    console.log(upload.url);
  },
});
upload.start();
