// Answers what deepstream would, on Node's own V8: one line of JSON in, one out. A line is a list of questions.
import { createInterface } from 'node:readline'
import { createContext, Script } from 'node:vm'

// The checks of a rule's text (deepstream.io 10.1.4).
const functions = ['_', 'startsWith', 'endsWith', 'includes', 'indexOf', 'match', 'toUpperCase', 'toLowerCase', 'trim']
const newKeyword = /(^|[^\w$])new[^\w$]/
const userFunction = /=>|[^\w$]function[^\w$]/
const calls = /(\w+(?:['"`]\])?)\s*\(/g
const usesData = /(^|[^\w.~])data($|[^\w~])/
const usesOldData = /(^|[^\w~])oldData[^\w~]/
const oldDataIn = ['read', 'write', 'delete']
const dataIn = ['write', 'publish', 'subscribe', 'request']

// begin makes the globals of a rule, and what makes things among them. Nothing of the host is there.
const begin = () => new Script(`({
	compile: (names, text) => Function(...names, 'return ' + text + ';'),
	body: text => Function(text),
	parse: JSON.parse,
	user: (isAuthenticated, id, data) => ({ isAuthenticated, id, data }),
	empty: () => ({}),
	list: () => [],
	pattern: (source, flags) => RegExp(source, flags),
})`).runInContext(createContext(Object.create(null)))

let shared = begin()

// writes finds rules that may change something, which is not to be there for the next one.
const writes = /[^=!<>]=(?!=)|<<=|>>=|\+\+|--|delete/

function load(world, text, kind, variables) {
	if (text === '') return { code: 'rule-empty' }
	if (newKeyword.test(text)) return { code: 'new-keyword' }
	if (userFunction.test(text)) return { code: 'user-function' }
	for (const [, called] of text.matchAll(calls)) if (!functions.includes(called)) return { code: 'unsupported-function' }
	try {
		world.body(text)
	} catch {
		return { code: 'syntax-error' }
	}
	if (usesOldData.test(text) && !oldDataIn.includes(kind)) return { code: 'no-oldData' }
	if (usesData.test(text) && !dataIn.includes(kind)) return { code: 'no-data' }
	try {
		return { run: world.compile(['_', 'user', 'data', 'oldData', 'now', 'action', 'name', ...variables], text) }
	} catch {
		return { code: 'compile-error' }
	}
}

const patchPath = text => {
	const path = []
	for (const part of text.split('.').map(p => p.trim()).filter(p => p !== '')) {
		const [name, ...indices] = part.split('[')
		path.push(name)
		for (const i of indices) path.push(Number(i.split(']')[0]))
	}
	return path
}

function patch(world, content, path, value, remove) {
	let at = content
	for (let i = 0; i < path.length; i++) {
		if (['__proto__', 'constructor', 'prototype'].includes(path[i])) throw Error('payload')
		if (i === path.length - 1) break
		const below = at[path[i]]
		if (below !== undefined && typeof below === 'object') at = below
		else at = at[path[i]] = typeof path[i + 1] === 'number' ? world.list() : world.empty()
		if (at === null) throw Error('payload')
	}
	if (remove) delete at[path[path.length - 1]]
	else at[path[path.length - 1]] = value
	return content
}

// evaluate runs a rule, round after round.
function evaluate(world, run, text, c) {
	const known = new Map(), loads = []
	const uses = usesData.test(text), usesOld = usesOldData.test(text)
	for (let rounds = 1; ; rounds++) {
		if (rounds > 3) return { error: 'iterations', rounds: 3, loads }
		const requested = [], values = new Map()
		let failed = ''
		const record = name => {
			if (!known.has(name)) {
				if (!requested.includes(name)) requested.push(name)
				return undefined
			}
			if (!values.has(name)) values.set(name, known.get(name) === null ? null : world.parse(known.get(name)))
			return values.get(name)
		}
		const cross = name => {
			if (name === undefined) return undefined
			if (typeof name !== 'string') {
				failed = 'crossref-type'
				throw Error(failed)
			}
			return name.includes('undefined') ? undefined : record(name)
		}
		let data = null, oldData
		if (uses) {
			try {
				if (c.path !== undefined) {
					data = undefined
					if (c.path !== '') {
						const value = c.data ? world.parse(c.data) : undefined
						const content = record(c.name)
						if (content !== undefined && (content === null || typeof content !== 'object')) throw Error('payload') // no record
						if (content !== undefined) data = patch(world, world.parse(known.get(c.name)), patchPath(c.path), value, !c.data)
					}
				} else data = c.data ? world.parse(c.data) : undefined
			} catch {
				return { error: 'payload', rounds, loads }
			}
		}
		if (usesOld) oldData = record(c.name)
		let result, thrown, threw = false
		try {
			result = run.call(world.empty(), cross, world.user(c.user !== 'open', c.user, world.parse(c.userData)), data, oldData, c.now, c.action, c.name, ...c.variables)
		} catch (e) {
			[threw, thrown] = [true, e]
		}
		if (failed) return { error: failed, rounds, loads }
		if (requested.length > 0) {
			for (const name of requested) {
				loads.push(name)
				known.set(name, Object.hasOwn(c.records, name) ? c.records[name] : null)
			}
			continue
		}
		if (threw) return { error: 'exception', class: thrown?.name, rounds, loads }
		return { ...describe(result), rounds, loads }
	}
}

const escaped = text => "'" + text.replace(/[^]/g, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0')) + "'"

// describe says what a result is, and writes it as a literal if it is a primitive, or the text that it becomes.
function describe(v) {
	const answer = { type: v === null ? 'null' : Array.isArray(v) ? 'array' : typeof v, truthy: !!v }
	if (typeof v === 'string') answer.literal = escaped(v)
	else if (typeof v === 'bigint') answer.literal = v + 'n'
	else if (v === null || typeof v === 'boolean') answer.literal = String(v)
	else if (v === undefined) answer.literal = 'void 0'
	else if (typeof v === 'number') answer.literal = Object.is(v, -0) ? '-0' : v !== v ? 'NaN' : Math.abs(v) === Infinity ? (v < 0 ? '-' : '') + '1e999' : String(v)
	else {
		try {
			const text = String(v)
			if (!text.includes('=>')) answer.text = escaped(text) // that of _ is not to be known
		} catch {}
	}
	return answer
}

const answers = {
	rule: q => {
		const touches = writes.test(q.text)
		const loaded = load(shared, q.text, q.kind, q.variables)
		if (loaded.code) return { code: loaded.code }
		return { cases: q.cases.map(c => {
			if (!touches) return evaluate(shared, loaded.run, q.text, c)
			const world = begin()
			return evaluate(world, load(world, q.text, q.kind, q.variables).run, q.text, c)
		}) }
	},
	regexp: q => {
		let re
		try {
			re = new RegExp(String.fromCharCode(...q.pattern), q.flags + 'd')
		} catch {
			return { code: 'syntax-error' }
		}
		return { matches: q.texts.map(t => {
			re.lastIndex = q.from
			const m = re.exec(String.fromCharCode(...t))
			return m && m.indices.flatMap(i => i ?? [-1, -1])
		}) }
	},
	// Which characters up to a last one a pattern matches alone, as ranges.
	matched: q => {
		let re
		try {
			re = new RegExp(q.source, q.flags)
		} catch {
			return { code: 'syntax-error' }
		}
		const ranges = []
		for (let c = 0, from = -1; c <= q.last + 1; c++) {
			const is = c <= q.last && re.test(String.fromCodePoint(c))
			if (is && from < 0) from = c
			if (!is && from >= 0) {
				ranges.push(from, c - 1)
				from = -1
			}
		}
		return { ranges }
	},
}

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
	if (line !== '') process.stdout.write(JSON.stringify(JSON.parse(line).map(q => answers[q.ask](q))) + '\n')
}
