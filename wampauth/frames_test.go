package wampauth_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/client"
	"github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/wamp"
	"github.com/stretchr/testify/require"

	"github.com/chansec/chansec"
	"github.com/chansec/chansec/wampauth"
)

const mostOfTest = 1 << 16

// websocket serves the router of a world over a websocket, and returns where.
func (w *world) websocket() string {
	h, err := wampauth.LimitMessages(router.NewWebsocketServer(w.router), mostOfTest)
	require.NoError(w, err)
	s := httptest.NewServer(h)
	w.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestAMessageOverAWebsocketHasABound(t *testing.T) {
	w := newWorld(t)
	w.grant("ann", "publish", "com")
	w.user("ann")
	at := w.websocket()
	for length, goes := range map[int]bool{mostOfTest - 200: true, mostOfTest: false, 10 * mostOfTest: false} {
		c, err := client.ConnectNet(t.Context(), "ws://"+at, client.Config{Realm: "realm1", HelloDetails: wamp.Dict{"authid": "ann"},
			AuthHandlers: bySecret(secretOf("ann")), Logger: log.New(io.Discard, "", 0), ResponseTimeout: 5 * time.Second})
		require.NoError(t, err)
		err = c.Publish("com.x", wamp.Dict{wamp.OptAcknowledge: true}, wamp.List{strings.Repeat("x", length)}, nil)
		if goes {
			require.NoError(t, err, length)
			require.NoError(t, c.Close())
			continue
		}
		require.Error(t, err, length)
		<-c.Done()
	}
	_, err := wampauth.LimitMessages(http.NotFoundHandler(), 0)
	require.ErrorIs(t, err, chansec.ErrInvalid)
}

// frame is one that a client sends, of which the payload says nothing.
func frame(first byte, length int) []byte {
	head := []byte{first, 0x80 | 127}
	head = binary.BigEndian.AppendUint64(head, uint64(length))
	return append(head, make([]byte, 4+length)...)
}

func TestWhoHasNotLoggedInSendsNoEndlessMessage(t *testing.T) {
	const text, more, last, ping = 0x01, 0x00, 0x80, 0x89
	endless := frame(text|last, 0)[:10]
	binary.BigEndian.PutUint64(endless[2:], 1<<62)
	parts := frame(text, 1000)
	for range mostOfTest / 1000 {
		parts = append(parts, frame(more, 1000)...)
	}
	for name, sent := range map[string][]byte{
		"a frame that says it is endless":   append(endless, 0, 0, 0, 0),
		"a message of parts without an end": parts,
		"a long ping":                       frame(ping, 126),
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c, err := net.Dial("tcp", w.websocket())
			require.NoError(t, err)
			defer c.Close()
			key := sha256.Sum256(nil)
			_, err = fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
				"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: wamp.2.json\r\n\r\n", base64.StdEncoding.EncodeToString(key[:16]))
			require.NoError(t, err)
			r := bufio.NewReader(c)
			res, err := http.ReadResponse(r, nil)
			require.NoError(t, err)
			require.Equal(t, http.StatusSwitchingProtocols, res.StatusCode)
			for i := 0; i < len(sent) && err == nil; i += 777 { // heads come in pieces
				_, err = c.Write(sent[i:min(i+777, len(sent))])
			}
			require.NoError(t, c.SetReadDeadline(time.Now().Add(2*time.Second))) // before the router ends who does not say hello
			_, err = io.Copy(io.Discard, r)
			if failed, ok := err.(net.Error); ok {
				require.False(t, failed.Timeout(), "the connection goes on")
			}
		})
	}
}
