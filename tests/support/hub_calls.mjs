// What a program in JavaScript asks of the Hub with @huggingface/hub: `node hub_calls.mjs MODULES HUB REPO BIG_FILE FOLDER` prints
// a JSON object, name → what came of it. MODULES is the folder in which the client is installed, FOLDER takes downloads.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join, relative } from "node:path";

const [modules, hubUrl, name, big, cacheDir] = process.argv.slice(2);
const hub = createRequire(join(modules, "any.js"))("@huggingface/hub");
const repo = { type: "model", name };

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

async function all(generator) {
    const found = [];
    for await (const one of generator) found.push(one);
    return found;
}

async function digests(folder) {
    const found = {};
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
        const path = join(entry.parentPath ?? entry.path, entry.name);
        if (!entry.isDirectory()) found[relative(folder, path)] = sha256(await readFile(path));
    }
    return Object.fromEntries(Object.entries(found).sort());
}

const calls = {
    async list_files() {
        const found = await all(hub.listFiles({ repo, hubUrl, recursive: true }));
        return found.filter((one) => one.type === "file").map((one) => [one.path, one.size, one.lfs?.oid ?? one.oid]).sort();
    },
    async file_exists() {
        return [await hub.fileExists({ repo, path: big, hubUrl }), await hub.fileExists({ repo, path: "no-such-file", hubUrl })];
    },
    async file_download_info() {
        const found = await hub.fileDownloadInfo({ repo, path: big, hubUrl });
        return [found.size, found.etag.replaceAll('"', ""), found.xet ?? null, await hub.fileDownloadInfo({ repo, path: "nope", hubUrl })];
    },
    async download_file() {
        const blob = await hub.downloadFile({ repo, path: big, hubUrl });
        return [blob.size, sha256(Buffer.from(await blob.arrayBuffer()))];
    },
    async download_a_part() {
        const blob = await hub.downloadFile({ repo, path: big, hubUrl });
        return sha256(Buffer.from(await blob.slice(1_000_000, 1_100_000).arrayBuffer()));
    },
    async model_info() {
        const found = await hub.modelInfo({ name, hubUrl, additionalFields: ["sha"] });
        return [found.name, found.sha, found.private];
    },
    async list_models() {
        return (await all(hub.listModels({ search: { query: name.split("/")[1] }, hubUrl }))).map((one) => one.name);
    },
    async paths_info() {
        const found = await hub.pathsInfo({ repo, paths: [big, "no-such-file"], hubUrl });
        return found.map((one) => [one.path, one.size, one.lfs?.oid]);
    },
    async snapshot_download() {
        return await digests(await hub.snapshotDownload({ repo, cacheDir, hubUrl }));
    },
};

const results = {};
for (const [call, run] of Object.entries(calls)) {
    results[call] = await run().catch((error) => `${error.name}: ${error.message}`);
}
console.log(JSON.stringify(results));
