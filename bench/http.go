package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dunglas/mercure"
	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"github.com/chansec/chansec"
)

// HTTP: one request of somebody with a token, into the handler itself and over a connection of this machine that is kept;
// and one message to every subscriber of a stream of server-sent events, over connections of this machine.
//
// The floors are handlers of a few lines over net/http: one that asks nobody who they are, and one that verifies the same
// token with golang-jwt and looks at role and channel.

const httpBody = `{"celsius":21.5}`

type celsius struct {
	Celsius float64 `json:"celsius"`
}

func httpGroups(s scale) []group {
	var g group
	for _, where := range []string{"handler", "loopback"} {
		for _, method := range []string{"PUT", "GET"} {
			for _, k := range []struct {
				name string
				open func() (*webService, error)
			}{
				{"net/http, no authentication", openBareHTTP(false)},
				{"floor: net/http with golang-jwt", openBareHTTP(true)},
				{"chansec", openChansecHTTP},
				{"mercure hub", openMercureHTTP},
			} {
				if method == "GET" && strings.HasPrefix(k.name, "mercure") {
					continue // it has no reads
				}
				g = append(g, contender{row: "http/" + method + "/" + where, name: k.name, floor: strings.HasPrefix(k.name, "floor"),
					open: func() (*work, error) { return openWeb(k.open, method, where == "loopback") }})
			}
		}
	}
	var streams group
	for _, mode := range []string{"pipelined", "parked"} {
		for _, k := range webBuses {
			streams = append(streams, contender{row: "http/SSE/" + mode + "/" + count(s.streams), name: k.name, floor: strings.HasPrefix(k.name, "floor"),
				open: func() (*work, error) { return openBus(k.open, s.streams, mode) }})
		}
	}
	return []group{g.sortRows(), streams.sortRows()}
}

// webService is a handler and what its clients send.
type webService struct {
	handler http.Handler
	put     func() *http.Request // a fresh request
	get     func() *http.Request
	wrong   func() *http.Request // one that must be refused
	stored  func() int           // how many messages have been written
	close   func()
}

func openWeb(open func() (*webService, error), method string, overTCP bool) (*work, error) {
	s, err := open()
	if err != nil {
		return nil, err
	}
	make := s.put
	if method == "GET" {
		make = s.get
	}
	send := func(r *http.Request) (int, []byte, error) {
		w := &answer{header: http.Header{}}
		s.handler.ServeHTTP(w, r)
		return w.status, w.body, nil
	}
	stop := s.close
	if overTCP {
		server := httptest.NewServer(s.handler)
		client := &http.Client{Transport: &http.Transport{}}
		send = func(r *http.Request) (int, []byte, error) {
			r.RequestURI = ""
			r.URL.Scheme, r.URL.Host = "http", server.Listener.Addr().String()
			resp, err := client.Do(r)
			if err != nil {
				return 0, nil, err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return resp.StatusCode, body, err
		}
		stop = func() { server.Close(); s.close() }
	}
	one := func() error {
		status, body, err := send(make())
		if err == nil && (status != http.StatusOK && status != 0 || len(body) == 0) {
			err = fmt.Errorf("%w: status %d: %s", errWrong, status, body)
		}
		return err
	}
	return &work{
		close: stop,
		check: func() error {
			before := s.stored()
			if status, body, err := send(s.put()); err != nil || status >= 300 {
				return fmt.Errorf("%w: status %d, %v: %s", errWrong, status, err, body)
			}
			if s.stored() != before+1 {
				return fmt.Errorf("%w: %d messages were stored", errWrong, s.stored()-before)
			}
			if s.wrong != nil {
				if status, _, err := send(s.wrong()); err != nil || status != http.StatusUnauthorized && status != http.StatusForbidden {
					return fmt.Errorf("%w: a bad token was answered with %d, %v", errWrong, status, err)
				}
			}
			return one()
		},
		bench: func(b *testing.B) error {
			for range b.N {
				if err := one(); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}

// answer is a ResponseWriter that keeps what it is given.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header { return a.header }
func (a *answer) WriteHeader(s int)   { a.status = s }
func (a *answer) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}
func (a *answer) Flush() {}

// httpRequests returns a maker of one request after the other.
func httpRequests(method, path, token, body string) func() *http.Request {
	u, err := url.Parse(path)
	if err != nil {
		panic(err)
	}
	header := http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
	return func() *http.Request {
		copied := *u
		r := &http.Request{Method: method, URL: &copied, RequestURI: path, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Host: "localhost", Header: header, Body: http.NoBody}
		if body != "" {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		}
		return r
	}
}

// bare is the least that a channel behind net/http could be: a list under a mutex.
type bare struct {
	mu   sync.Mutex
	list []bareMessage
	n    int
}

// bareMessage has the members that ours has.
type bareMessage struct {
	ID            string         `json:"id"`
	Timestamp     float64        `json:"timestamp"`
	SenderID      string         `json:"sender_id"`
	Content       celsius        `json:"content"`
	Metadata      map[string]any `json:"metadata"`
	CorrelationID *string        `json:"correlation_id"`
	ReplyTo       *string        `json:"reply_to"`
	RecipientID   *string        `json:"recipient_id"`
}

func (s *bare) put(w http.ResponseWriter, r *http.Request, sender string) {
	var c celsius
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&c); err != nil {
		http.Error(w, "bad request", http.StatusBadRequest)
		return
	}
	id, err := uuid.NewV7()
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	m := bareMessage{ID: id.String(), Timestamp: float64(time.Now().UnixMicro()) / 1e6, SenderID: sender, Content: c, Metadata: map[string]any{}}
	s.mu.Lock()
	s.n++
	if len(s.list) < 10_000 {
		s.list = append(s.list, m)
	} else {
		s.list[s.n%len(s.list)] = m
	}
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		Status string `json:"status"`
		ItemID string `json:"item_id"`
	}{"accepted", m.ID})
}

func (s *bare) get(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	list := append([]bareMessage(nil), s.list[:min(1, len(s.list))]...)
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(struct {
		Messages []bareMessage `json:"messages"`
	}{list})
}

// checked verifies the token with golang-jwt, as its documentation recommends.
func checked(secret []byte) func(r *http.Request) (string, bool) {
	p := jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding())
	return func(r *http.Request) (string, bool) {
		text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok {
			return "", false
		}
		var c claims
		if _, err := p.ParseWithClaims(text, &c, func(*jwt.Token) (any, error) { return secret, nil }); err != nil {
			return "", false
		}
		for _, id := range c.Channels {
			if id == channelID && (c.Role == "write" || c.Role == "admin") {
				return c.Subject, true
			}
		}
		return "", false
	}
}

func openBareHTTP(authenticated bool) func() (*webService, error) {
	return func() (*webService, error) {
		w, err := newWallet("HS256", 1)
		if err != nil {
			return nil, err
		}
		s, who, mux := &bare{}, checked(w.public.([]byte)), http.NewServeMux()
		serve := func(do func(http.ResponseWriter, *http.Request, string)) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				sender := "anybody"
				if authenticated {
					var ok bool
					if sender, ok = who(r); !ok {
						http.Error(w, "unauthorized", http.StatusUnauthorized)
						return
					}
				}
				do(w, r, sender)
			}
		}
		mux.HandleFunc("PUT /channels/{id}", serve(s.put))
		mux.HandleFunc("GET /channels/{id}", serve(func(w http.ResponseWriter, r *http.Request, _ string) { s.get(w, r) }))
		web := &webService{handler: mux, stored: func() int { s.mu.Lock(); defer s.mu.Unlock(); return s.n }, close: func() {},
			put: httpRequests("PUT", "/channels/"+channelID, w.tokens[0], httpBody),
			get: httpRequests("GET", "/channels/"+channelID+"?limit=1", w.tokens[0], "")}
		if authenticated {
			web.wrong = httpRequests("PUT", "/channels/"+channelID, w.tokens[0]+"x", httpBody)
		}
		return web, nil
	}
}

// openChansecWeb opens a channel behind the transport.
func openChansecWeb[T any](w *wallet) (*chansec.BroadcastChannel[T], *chansec.HTTPTransport, error) {
	key, err := chansec.HMACKey(keyID, "HS256", w.private.([]byte))
	if err != nil {
		return nil, nil, err
	}
	security, err := chansec.NewJWTSecurity(key)
	if err != nil {
		return nil, nil, err
	}
	ch, err := chansec.NewBroadcast[T](channelID, chansec.WithSecurity(security))
	if err != nil {
		return nil, nil, err
	}
	if err := ch.Start(context.Background()); err != nil {
		return nil, nil, err
	}
	t, err := chansec.NewHTTPTransport(chansec.HTTPLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, nil, err
	}
	return ch, t, t.Mount(ch)
}

func openChansecHTTP() (*webService, error) {
	w, err := newWallet("HS256", 1)
	if err != nil {
		return nil, err
	}
	ch, t, err := openChansecWeb[celsius](w)
	if err != nil {
		return nil, err
	}
	first, err := ch.As("first").Write(context.Background(), celsius{1})
	if err != nil {
		return nil, err
	}
	if _, err := ch.As("first").Write(context.Background(), celsius{2}); err != nil {
		return nil, err
	}
	return &webService{handler: t, close: func() { _ = ch.Close() },
		stored: func() int { n, _ := ch.As("counter").Len(context.Background()); return n },
		put:    httpRequests("PUT", "/channels/"+channelID, w.tokens[0], httpBody),
		get:    httpRequests("GET", "/channels/"+channelID+"?limit=1&after="+first.String(), w.tokens[0], ""),
		wrong:  httpRequests("PUT", "/channels/"+channelID, w.tokens[0]+"x", httpBody)}, nil
}

const mercureTopic = "https://example.com/readings"

// newHub opens a hub with tokens for a publisher and for subscribers of private updates.
func newHub() (hub *mercure.Hub, publisher, subscriber string, err error) {
	ctx := context.Background()
	secret := make([]byte, 32)
	rand.Read(secret)
	hub, err = mercure.NewHub(ctx, mercure.WithPublisherJWT(secret, "HS256"), mercure.WithSubscriberJWT(secret, "HS256"),
		mercure.WithLogger(slog.New(slog.DiscardHandler)), mercure.WithHeartbeat(0),
		mercure.WithTransport(mercure.NewLocalTransport(mercure.NewSubscriberList(mercure.DefaultSubscriberListCacheSize))))
	if err != nil {
		return nil, "", "", err
	}
	sign := func(what string) string {
		text, failed := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": time.Now().Add(time.Hour).Unix(), "mercure": map[string]any{what: []string{mercureTopic}}}).SignedString(secret)
		if failed != nil {
			err = failed
		}
		return text
	}
	publisher, subscriber = sign("publish"), sign("subscribe")
	return hub, publisher, subscriber, err
}

func openMercureHTTP() (*webService, error) {
	hub, publisher, _, err := newHub()
	if err != nil {
		return nil, err
	}
	form := url.Values{"topic": {mercureTopic}, "data": {httpBody}, "private": {"on"}}.Encode()
	n := 0
	maker := func(token string) func() *http.Request {
		next := httpRequests("POST", "/.well-known/mercure", token, form)
		return func() *http.Request {
			r := next()
			r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/x-www-form-urlencoded"}}
			return r
		}
	}
	return &webService{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := &counted{ResponseWriter: w}
		hub.PublishHandler(a, r)
		if a.n > 0 && a.status < 300 {
			n++ // it answers with the update's ID once it was handed to the transport
		}
	}), put: maker(publisher), wrong: maker(publisher + "x"), stored: func() int { return n }, close: func() { _ = hub.Stop(context.Background()) }}, nil
}

// counted notes whether something was answered.
type counted struct {
	http.ResponseWriter
	n, status int
}

func (c *counted) WriteHeader(s int) { c.status = s; c.ResponseWriter.WriteHeader(s) }
func (c *counted) Write(b []byte) (int, error) {
	c.n += len(b)
	return c.ResponseWriter.Write(b)
}

var webBuses = []struct {
	name string
	open busOpener
}{
	{"floor: net/http with golang-jwt", openBareSSE},
	{"chansec", openChansecSSE},
	{"mercure hub", openMercureSSE},
}

// sseClients opens so many streams and reads the number that follows a mark in every event.
func sseClients(h http.Handler, subs int, path, token, mark string, got func(int, uint64)) (stop func(), err error) {
	server := httptest.NewServer(h)
	var (
		wg    sync.WaitGroup
		conns []net.Conn
	)
	stop = func() {
		for _, c := range conns {
			_ = c.Close()
		}
		wg.Wait()
		server.CloseClientConnections()
		server.Close()
	}
	for i := range subs {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			return stop, err
		}
		conns = append(conns, conn)
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAuthorization: Bearer %s\r\n\r\n", path, token); err != nil {
			return stop, err
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("%w: %s", errWrong, resp.Status)
		}
		if err != nil {
			return stop, err
		}
		lines := bufio.NewReaderSize(resp.Body, 16<<10)
		wg.Go(func() {
			for {
				line, err := lines.ReadSlice('\n')
				if err != nil {
					return
				}
				if !bytes.HasPrefix(line, []byte("data: ")) {
					continue
				}
				_, rest, ok := bytes.Cut(line, []byte(mark))
				if !ok {
					continue
				}
				n := uint64(0)
				for _, c := range rest {
					if c < '0' || c > '9' {
						break
					}
					n = n*10 + uint64(c-'0')
				}
				got(i, n)
			}
		})
	}
	return stop, nil
}

// openBareSSE is the floor: a Go channel for each subscriber, messages that were encoded once, and a token that was verified
// once, when the stream was opened.
func openBareSSE(subs int, got func(int, uint64)) (bus, error) {
	w, err := newWallet("HS256", 1)
	if err != nil {
		return bus{}, err
	}
	var (
		who   = checked(w.public.([]byte))
		mu    sync.Mutex
		list  []chan []byte
		ready = make(chan struct{}, subs)
	)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, ok := who(r); !ok {
			http.Error(w, "unauthorized", http.StatusUnauthorized)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		_ = control.Flush()
		ch := make(chan []byte, bufferedMessages)
		mu.Lock()
		list = append(list, ch)
		mu.Unlock()
		ready <- struct{}{}
		for {
			select {
			case b := <-ch:
				if _, err := w.Write(b); err != nil {
					return
				}
				for len(ch) > 0 {
					if _, err := w.Write(<-ch); err != nil {
						return
					}
				}
				if control.Flush() != nil {
					return
				}
			case <-r.Context().Done():
				return
			}
		}
	})
	stop, err := sseClients(handler, subs, "/channels/"+channelID+"/events", w.tokens[0], `"data":`, got)
	if err != nil {
		return bus{}, err
	}
	for range subs {
		<-ready
	}
	return bus{close: stop, write: func(seq uint64) error {
		id, err := uuid.NewV7()
		if err != nil {
			return err
		}
		b := fmt.Appendf(nil, "id: %s\ndata: {\"id\":\"%s\",\"timestamp\":%f,\"sender_id\":\"writer\",\"content\":{\"data\":%d},\"metadata\":{},\"correlation_id\":null,\"reply_to\":null,\"recipient_id\":null}\n\n",
			id, id, float64(time.Now().UnixMicro())/1e6, seq)
		for _, ch := range list {
			ch <- b
		}
		return nil
	}}, nil
}

func openChansecSSE(subs int, got func(int, uint64)) (bus, error) {
	w, err := newWallet("HS256", 1)
	if err != nil {
		return bus{}, err
	}
	ch, t, err := openChansecWeb[uint64](w)
	if err != nil {
		return bus{}, err
	}
	stop, err := sseClients(t, subs, "/channels/"+channelID+"/events", w.tokens[0], `"data":`, got)
	port := ch.As("writer")
	return bus{close: func() { stop(); _ = ch.Close() }, write: func(seq uint64) error {
		_, err := port.Write(context.Background(), seq)
		return err
	}}, err
}

func openMercureSSE(subs int, got func(int, uint64)) (bus, error) {
	hub, _, subscriber, err := newHub()
	if err != nil {
		return bus{}, err
	}
	stop, err := sseClients(http.HandlerFunc(hub.SubscribeHandler), subs, "/.well-known/mercure?topic="+url.QueryEscape(mercureTopic), subscriber, "data: ", got)
	return bus{close: func() { stop(); _ = hub.Stop(context.Background()) }, write: func(seq uint64) error {
		return hub.Publish(context.Background(), &mercure.Update{Topics: []string{mercureTopic}, Private: true,
			Event: mercure.Event{Data: strconv.FormatUint(seq, 10)}})
	}}, err
}
