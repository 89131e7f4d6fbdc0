package chansec_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rawConn is a connection on which a test says what no HTTP client would.
type rawConn struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// patience is how long a test waits for what must come at once.
const patience = 20 * time.Second

func dialRaw(t *testing.T, addr string) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	t.Cleanup(func() { _ = c.Close() })
	return &rawConn{c, t, bufio.NewReader(c)}
}

func (s *site) dial() *rawConn { return s.dialFor(s.t) }

func (s *site) dialFor(t *testing.T) *rawConn { return dialRaw(t, s.Listener.Addr().String()) }

func (c *rawConn) send(text string) *rawConn {
	c.t.Helper()
	_, err := io.WriteString(c, text)
	require.NoError(c.t, err)
	return c
}

// next reads one answer.
func (c *rawConn) next() answered {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, nil)
	require.NoError(c.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(c.t, err)
	return answered{resp.StatusCode, resp.Header, string(text)}
}

// requireClosed requires that the server closed the connection, after whatever else it had to say.
func (c *rawConn) requireClosed() {
	c.t.Helper()
	_, err := io.Copy(io.Discard, c.r)
	var late net.Error
	if err != nil {
		require.False(c.t, errors.As(err, &late) && late.Timeout(), "the connection is still open")
	}
}

// drip sends a text again and again, a little of it at a time, until the connection breaks or the test ends.
func (c *rawConn) drip(text string, pause time.Duration) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		for piece := range strings.SplitSeq(text, "|") {
			select {
			case <-ticker.C:
			case <-c.t.Context().Done():
				return
			}
			if _, err := io.WriteString(c, piece); err != nil {
				return
			}
		}
	}
}

// hexLength is the size of a chunk.
func hexLength(s string) string { return strconv.FormatInt(int64(len(s)), 16) }
