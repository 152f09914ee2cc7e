// Announce to a tracker, and scrape it, with the npm package bittorrent-tracker; print what came of it, by scheme.
//
//     node tracker_calls.mjs FOLDER_OF_THE_PACKAGE PORT INFO_HASH

import { pathToFileURL } from 'node:url'

const [folder, port, infoHash] = process.argv.slice(2)
const { default: Client } = await import(pathToFileURL(`${folder}/node_modules/bittorrent-tracker/index.js`))

function counts ({ complete, incomplete, downloaded }) {
  return { complete, incomplete, downloaded }
}

function ask (scheme) {
  return new Promise((resolve) => {
    const found = { peers: [] }
    const peerId = Buffer.from('-XX0000-' + scheme.padEnd(12, '0')).toString('hex')
    const client = new Client({ infoHash, peerId, port: 6890, announce: [`${scheme}://127.0.0.1:${port}/announce`] })
    const end = (more) => {
      client.destroy()
      resolve({ ...found, ...more })
    }
    client.on('error', (error) => end({ error: error.message }))
    client.on('warning', (error) => end({ error: error.message }))
    client.on('peer', (peer) => found.peers.push(peer))
    client.once('update', (told) => {
      found.announced = counts(told)
      client.once('scrape', (told) => {
        found.scraped = counts(told)
        client.once('update', () => end({ stopped: true }))
        client.stop()
      })
      client.scrape()
    })
    client.start({ left: 1000 })
  })
}

console.log(JSON.stringify({ http: await ask('http'), udp: await ask('udp') }))
