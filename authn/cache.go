package authn

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"hash"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// CacheConfig says what a Cache remembers.
type CacheConfig struct {
	Yes time.Duration // how long an Allow is remembered, if what it allows does not end before; 0 is not at all
	No  time.Duration // how long a Deny or Abstain is; 0 is not at all

	Size    int           // how many of either are; 0 is DefaultCacheSize. It is rounded up to a power of two
	Lookups int           // how many requests may be waiting for the handler; 0 is DefaultCalls
	Timeout time.Duration // of asking the handler; 0 is DefaultHandlerTimeout

	// IgnoreConnection says that the handler does not look at Request.Connection, nor at the properties $ClientIP and
	// $Transport, which say the same. Without it, an answer serves only those who come from the same address, whatever the
	// port, with the same header and the same certificates.
	IgnoreConnection bool
}

// DefaultCacheSize is how many answers of either kind a Cache remembers.
const DefaultCacheSize = 4096

// cacheWays is how many places there are for one request; the answer that ends first makes room.
const cacheWays = 8

// Cache is a handler that remembers what another answered. Equal requests that come while the other is being asked wait for
// that one answer. A failure is not remembered. It may be used from many goroutines at once; an answer that is remembered
// is found without a lock.
//
// What makes requests equal is all that a handler can see of them, but for the port of the remote address. Of a request
// nothing is kept but its principal and an HMAC-SHA-256 of the whole, under a key that is made for this cache and kept
// nowhere else: no credential can be read from it. (Whoever reads the memory of the process has that key, too, and can
// try passwords fast: prefer a short lifetime where passwords are weak.) Refusals have room of their own, so that a flood
// of wrong passwords does not push out the right ones. What the handler gives a client is kept as it is.
//
// Until it ends or is purged, an answer is what it was: somebody who was locked out meanwhile, or whose roles were changed,
// is let in as before.
type Cache struct {
	handler Handler
	config  CacheConfig
	calls   *calls
	macs    sync.Pool // of *mac
	yes, no answers

	mu      sync.Mutex // of storing, purging and asking the handler
	flights map[sum]*flight
	age     uint64 // how often there was a purge
}

type sum = [sha256.Size]byte

// answers is a table with a few places for each request.
type answers [][cacheWays]atomic.Pointer[remembered]

type remembered struct {
	sum        sum
	principals [2]string // in the request and in the answer
	response   Response
	until      time.Time
}

// flight is a request that the handler is being asked.
type flight struct {
	age      uint64
	done     chan struct{}
	response Response // set before done is closed, with err
	err      error
}

// NewCache makes a cache, or returns a chansec.InvalidError.
func NewCache(h Handler, config CacheConfig) (*Cache, error) {
	const most = 1 << 24
	switch {
	case h == nil:
		return nil, invalid("Handler", "nil", "one whose answers to remember")
	case config.Yes < 0 || config.No < 0 || config.Timeout < 0:
		return nil, invalid("CacheConfig", "a negative duration", "positive ones, or 0")
	case config.Yes == 0 && config.No == 0:
		return nil, invalid("CacheConfig", "no lifetime", "Yes or No, or both")
	case config.Size < 0 || config.Size > most:
		return nil, invalid("Size of a cache", strconv.Itoa(config.Size), "1 to 16777216, or 0 for the default")
	case config.Lookups < 0:
		return nil, invalid("Lookups of a cache", strconv.Itoa(config.Lookups), "a positive number, or 0 for the default")
	}
	setDefault(&config.Size, DefaultCacheSize)
	setDefault(&config.Lookups, DefaultCalls)
	setDefault(&config.Timeout, DefaultHandlerTimeout)
	c := &Cache{handler: h, config: config, calls: newCalls(config.Lookups), flights: map[sum]*flight{}}
	sets := 1
	for sets*cacheWays < config.Size {
		sets *= 2
	}
	c.yes, c.no = make(answers, sets), make(answers, sets)
	key := make([]byte, sha256.BlockSize)
	_, _ = rand.Read(key) // never fails
	c.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, key)} }
	return c, nil
}

// Format writes no more than what it is: there is much in it, and it changes.
func (c *Cache) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("authn.Cache")) }

// Authenticate answers from memory, or asks the handler. The handler's context is not that of any caller: it does not end
// when a caller gives up, and carries nothing of theirs.
func (c *Cache) Authenticate(ctx context.Context, r *Request) (Response, error) {
	s := c.sum(r)
	now := time.Now()
	if e := c.yes.get(&s, now); e != nil {
		return e.response.clone(), nil
	}
	if e := c.no.get(&s, now); e != nil {
		return e.response.clone(), nil
	}
	f := c.join(s, r)
	select {
	case <-f.done:
		return f.response.clone(), f.err
	case <-ctx.Done():
		return Response{}, ctx.Err()
	}
}

// join returns the flight of a request, which starts if there is none.
func (c *Cache) join(s sum, r *Request) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[s]; f != nil {
		return f
	}
	f := &flight{age: c.age, done: make(chan struct{})}
	c.flights[s] = f
	k := c.calls.start(context.Background(), c.handler, r, c.config.Timeout)
	principal := r.Principal
	go func() {
		f.response, _, f.err = k.wait(nil)
		c.land(s, f, principal)
	}()
	return f
}

// land remembers an answer, unless there was a purge since it was asked for, and gives it to those who wait.
func (c *Cache) land(s sum, f *flight, principal string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[s] == f {
		delete(c.flights, s)
	}
	f.response = f.response.clone()
	if f.err == nil && f.age == c.age {
		c.remember(s, principal, f.response)
	}
	close(f.done)
}

func (c *Cache) remember(s sum, principal string, r Response) {
	table, lifetime := c.no, c.config.No
	if r.Answer == Allow {
		table, lifetime = c.yes, c.config.Yes
	}
	now := time.Now()
	e := &remembered{sum: s, principals: [2]string{principal, r.Principal}, response: r.clone(), until: now.Add(lifetime)}
	if r.Answer == Allow {
		name, _, expires, err := r.fixed()
		if err != nil {
			return
		}
		e.principals[1] = name
		if g := bounded(r.Grant, expires); g != nil && g.ExpiresAt.Before(e.until) {
			e.until = g.ExpiresAt
		}
	}
	if r.Answer > Abstain || !now.Before(e.until) {
		return
	}
	table.put(e)
}

// Purge forgets what is remembered about a principal: whom the requests named, or the answers. What the handler was asked
// before is not remembered, and nobody who comes later waits for it. It returns how many answers were forgotten.
func (c *Cache) Purge(principal string) int {
	return c.purge(func(e *remembered) bool { return slices.Contains(e.principals[:], principal) })
}

// Clear is Purge for everybody.
func (c *Cache) Clear() int { return c.purge(func(*remembered) bool { return true }) }

func (c *Cache) purge(of func(*remembered) bool) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.age++
	clear(c.flights)
	for _, table := range []answers{c.yes, c.no} {
		for i := range table {
			for k := range table[i] {
				if e := table[i][k].Load(); e != nil && of(e) {
					table[i][k].Store(nil)
					n++
				}
			}
		}
	}
	return n
}

func (t answers) set(s *sum) *[cacheWays]atomic.Pointer[remembered] {
	return &t[binary.LittleEndian.Uint64(s[:8])&uint64(len(t)-1)]
}

func (t answers) get(s *sum, now time.Time) *remembered {
	set := t.set(s)
	for i := range set {
		if e := set[i].Load(); e != nil && e.sum == *s {
			if now.Before(e.until) {
				return e
			}
			return nil
		}
	}
	return nil
}

// put stores an answer in the place of an older one to the same request, or in one that is free, or else in that of the one
// that ends first. Others do not put at the same time.
func (t answers) put(e *remembered) {
	set := t.set(&e.sum)
	place, ends := &set[0], e.until
	for i := range set {
		switch old := set[i].Load(); {
		case old != nil && old.sum == e.sum:
			set[i].Store(e)
			return
		case old == nil:
			place, ends = &set[i], time.Time{}
		case old.until.Before(ends):
			place, ends = &set[i], old.until
		}
	}
	place.Store(e)
}

// sum is the keyed hash of all that a handler can see.
func (c *Cache) sum(r *Request) (s sum) {
	m := c.macs.Get().(*mac)
	w := append(m.text[:0], boolByte(r.Change), boolByte(r.Credentials == nil), boolByte(r.Roles == nil))
	properties := r.Properties
	if c.config.IgnoreConnection {
		properties = maps.Clone(properties)
		delete(properties, "$ClientIP")
		delete(properties, "$Transport")
	}
	w = w.string(r.Principal).bytes(r.Credentials).list(r.Roles).properties(properties).properties(r.Proposed)
	if !c.config.IgnoreConnection {
		w = w.connection(&r.Connection)
	}
	m.Write(w)
	m.Sum(s[:0])
	m.Reset()
	clear(w)
	if m.text = w; cap(w) > 4<<10 {
		m.text = nil
	}
	c.macs.Put(m)
	return s
}

// mac is an HMAC with the key of the cache, and a buffer that is empty between uses.
type mac struct {
	hash.Hash
	text hashed
}

// hashed is values, each with its length before it, so that no two lists of values are the same bytes.
type hashed []byte

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (w hashed) number(n int) hashed    { return binary.BigEndian.AppendUint64(w, uint64(n)) }
func (w hashed) bytes(b []byte) hashed  { return append(w.number(len(b)), b...) }
func (w hashed) string(s string) hashed { return append(w.number(len(s)), s...) }
func (w hashed) list(l []string) hashed {
	w = w.number(len(l))
	for _, s := range l {
		w = w.string(s)
	}
	return w
}

func (w hashed) properties(m map[string]string) hashed {
	w = w.number(len(m))
	for _, name := range slices.Sorted(maps.Keys(m)) {
		w = w.string(name).string(m[name])
	}
	return w
}

func (w hashed) connection(c *Connection) hashed {
	host, _, err := net.SplitHostPort(c.RemoteAddr)
	if err != nil {
		host = c.RemoteAddr
	}
	w = w.string(c.Transport).string(host).number(len(c.Header))
	for _, name := range slices.Sorted(maps.Keys(c.Header)) {
		w = w.string(name).list(c.Header[name])
	}
	if c.TLS == nil {
		return append(w, 0)
	}
	return append(w, 1).tls(c.TLS)
}

func (w hashed) tls(t *tls.ConnectionState) hashed {
	w = append(w, boolByte(t.HandshakeComplete))
	w = w.number(int(t.Version)).number(int(t.CipherSuite)).string(t.ServerName).string(t.NegotiatedProtocol)
	w = w.certificates(t.PeerCertificates).number(len(t.VerifiedChains))
	for _, chain := range t.VerifiedChains {
		w = w.certificates(chain)
	}
	return w
}

func (w hashed) certificates(list []*x509.Certificate) hashed {
	w = w.number(len(list))
	for _, cert := range list {
		w = w.bytes(cert.Raw)
	}
	return w
}

// clone returns a copy whose lists and maps are its own; the values in them are read-only.
func (a *Response) clone() Response {
	own := *a
	own.Roles = slices.Clone(a.Roles)
	own.Properties = maps.Clone(a.Properties)
	own.ServerData = maps.Clone(a.ServerData)
	if a.Grant != nil {
		own.Grant = bounded(a.Grant, time.Time{}) // a copy
	}
	return own
}
