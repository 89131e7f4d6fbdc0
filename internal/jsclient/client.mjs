// A WAMP client that does what it reads, one JSON object a line, and writes what comes of it:
//
//   node client.mjs autobahn|wampy URL REALM LOGIN     (the secret is in the environment, SECRET)
//   {"id":1,"do":"publish|subscribe|register|call","name":"com.x","match":"prefix","args":[],"kwargs":{}}
//
// Answers are {"id","result"} or {"id","error"}; beside these come {"open"}, {"event"}, {"called"} and {"closed"}.
import { createInterface } from 'node:readline'
import WebSocket from 'ws'

globalThis.WebSocket ??= WebSocket
const [kind, url, realm, login] = process.argv.slice(2)
const secret = process.env.SECRET
const say = (what) => process.stdout.write(JSON.stringify(what) + '\n')

const clients = {
  async autobahn () {
    const { default: autobahn } = await import('autobahn')
    const connection = new autobahn.Connection({
      url, realm, authid: login, authmethods: ['wampcra'], max_retries: 0,
      onchallenge: (session, method, extra) => autobahn.auth_cra.sign(autobahn.auth_cra.derive_key(secret, extra.salt, extra.iterations, extra.keylen), extra.challenge)
    })
    const session = await new Promise((resolve) => {
      connection.onopen = resolve
      connection.onclose = (why, details) => { say({ closed: details.reason ?? why }); resolve(null); return true }
      connection.open()
    })
    if (!session) return null
    const options = (match) => match ? { match } : {}
    return {
      publish: ({ name, args }) => session.publish(name, args, {}, { acknowledge: true }),
      subscribe: ({ name, match }) => session.subscribe(name, (args) => say({ event: args[0] }), options(match)),
      register: ({ name, match }) => session.register(name, (args) => { say({ called: name }); return 'done' }, options(match)),
      call: ({ name, args, kwargs }) => session.call(name, args, kwargs)
    }
  },
  async wampy () {
    const { Wampy } = await import('wampy')
    const { sign } = await import('wampy/wampcra.js')
    let closed = ''
    const client = new Wampy(url, {
      realm, ws: WebSocket, authid: login, authmethods: ['wampcra'], onChallenge: sign(secret), autoReconnect: false,
      onClose: () => say({ closed: closed || client.getOpStatus().error?.errorUri || 'closed' })
    })
    try {
      await client.connect()
    } catch (e) {
      closed = e.errorUri ?? e.message
      say({ closed })
      return null
    }
    const options = (match) => match ? { match } : {}
    return {
      publish: ({ name, args }) => client.publish(name, args, { acknowledge: true }),
      subscribe: ({ name, match }) => client.subscribe(name, (e) => say({ event: e.argsList[0] }), options(match)),
      register: ({ name, match }) => client.register(name, () => { say({ called: name }); return { argsList: ['done'] } }, options(match)),
      call: async ({ name, args, kwargs }) => {
        const payload = kwargs ? { argsDict: kwargs } : args
        const res = await client.call(name, payload)
        return res.argsList?.[0]
      }
    }
  }
}

const does = await clients[kind]()
if (does) say({ open: login })
for await (const line of createInterface({ input: process.stdin })) {
  const ask = JSON.parse(line)
  Promise.resolve().then(() => does[ask.do](ask)).then(
    (result) => say({ id: ask.id, result: typeof result === 'object' && ask.do !== 'call' ? true : result ?? true }),
    (e) => say({ id: ask.id, error: e.error ?? e.errorUri ?? String(e) }))
}
process.exit(0)
