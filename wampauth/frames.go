package wampauth

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"

	"github.com/chansec/chansec"
)

// LimitMessages returns a handler that serves websockets as another does, such as a WebsocketServer of nexus, which holds whole
// messages in memory and has no bound of its own: before it has read more of a message than so many bytes, the connection is
// closed. Who has not logged in is held to it, too. The other must hijack the connection, and not agree on compression.
func LimitMessages(h http.Handler, most int) (http.Handler, error) {
	if most < 1 {
		return nil, invalid("limit of messages", fmt.Sprint(most), "a positive number of bytes")
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(limited{w, uint64(most)}, r) }), nil
}

// limited hands out connections that are framed.
type limited struct {
	http.ResponseWriter
	most uint64
}

func (l limited) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(l.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 { // what was read already could not be looked at
		_ = c.Close()
		return nil, nil, invalid("request", "", "no more until it is answered")
	}
	f := &framed{Conn: c, most: l.most}
	return f, bufio.NewReadWriter(bufio.NewReader(f), bufio.NewWriter(f)), nil
}

// framed is a connection of which the frames that come are looked at (RFC 6455, 5.2).
type framed struct {
	net.Conn
	most    uint64
	head    [14]byte // of the frame
	have    int      // bytes of head
	left    uint64   // of the frame, behind its head
	message uint64   // bytes of the message so far, at most most
	failed  error
}

func (f *framed) Read(b []byte) (int, error) {
	if f.failed != nil {
		return 0, f.failed
	}
	n, err := f.Conn.Read(b)
	if f.failed = f.look(b[:n]); f.failed != nil {
		_ = f.Close()
		return 0, f.failed
	}
	return n, err
}

// look follows the frames, and fails at the head of the one with which a message is too long.
func (f *framed) look(b []byte) error {
	for len(b) > 0 {
		if f.left > 0 {
			skip := min(uint64(len(b)), f.left)
			f.left -= skip
			b = b[skip:]
			continue
		}
		f.head[f.have] = b[0]
		f.have++
		b = b[1:]
		if f.have < 2 {
			continue
		}
		length, size := uint64(f.head[1]&0x7f), 2
		switch length {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		if end := size + 4*int(f.head[1]>>7); f.have < end { // with the mask
			continue
		}
		switch size {
		case 4:
			length = uint64(binary.BigEndian.Uint16(f.head[2:]))
		case 10:
			length = binary.BigEndian.Uint64(f.head[2:])
		}
		f.have, f.left = 0, length
		const continuation, control = 0, 8
		switch opcode := f.head[0] & 0x0f; {
		case opcode >= control: // between the parts of a message
			if length > 125 {
				return errMessage
			}
			continue
		case opcode != continuation:
			f.message = 0
		}
		if length > f.most-f.message {
			return errMessage
		}
		f.message += length
	}
	return nil
}

var errMessage error = &refusal{"a message is too long", chansec.ErrLimit}
