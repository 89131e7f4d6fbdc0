package policy

import (
	"strconv"
	"strings"

	"github.com/chansec/chansec/internal/script"
)

// Separator is what stands between the segments of a path. It decides what an empty segment means, too, as each of the
// two systems has it.
type Separator byte

const (
	// Slash is Diffusion's: empty segments are dropped, so that /a//b/ is a/b (diffusion.md 3). What is left of "/" is the
	// root.
	Slash Separator = '/'
	// Dot is WAMP's: an empty segment is one, which nothing can be assigned at, and a name that is empty or begins with
	// one is nobody's (sqlauth.md 4).
	Dot Separator = '.'
)

// Bounds of paths and names.
const (
	maxPathBytes = 512 // as for a channel ID
	maxNameBytes = 512
)

// next returns the segment of a path that begins at a place, which is 0 or the end of the segment before. ok is false if
// there is none.
func (s Separator) next(path string, from int) (segment string, end int, ok bool) {
	if s == Slash {
		for from < len(path) && path[from] == '/' {
			from++
		}
		if from == len(path) {
			return "", from, false
		}
	} else if from == len(path) {
		return "", from, false
	} else if from > 0 {
		from++ // the dot
	}
	if n := strings.IndexByte(path[from:], byte(s)); n >= 0 {
		return path[from : from+n], from + n, true
	}
	return path[from:], len(path), true
}

// nobodys reports whether a path is one that no rule, default included, reaches.
func (s Separator) nobodys(path string) bool {
	return s == Dot && (path == "" || path[0] == '.')
}

// normal returns a path as it is stored, or InvalidPath for one that cannot carry an assignment.
func (s Separator) normal(path string) (string, error) {
	if len(path) > maxPathBytes || !script.IsText(path) {
		return "", refuse(InvalidPath, "path", path, "at most 512 bytes of UTF-8 without control characters")
	}
	if s == Dot {
		if path == "" || path[0] == '.' || path[len(path)-1] == '.' || strings.Contains(path, "..") {
			return "", refuse(InvalidPath, "path", path, "segments that are not empty, with single dots between them")
		}
		return path, nil
	}
	path = s.clean(path)
	if path == "" {
		return "", refuse(InvalidPath, "path", path, "at least one segment: the root carries no assignment and is not isolated; set defaults instead")
	}
	return path, nil
}

// principalVariable is the segment that stands for the caller's name, in stores with variables.
const principalVariable = "$principal"

// deepestVariable is among how many segments a variable must be. It bounds what a decision looks at.
const deepestVariable = 8

// normal returns a path as it is stored, or InvalidPath.
func (c *config) normal(path string) (string, error) {
	path, err := c.separator.normal(path)
	if err == nil && c.delegation {
		err = c.checkTopic(path, c.variables)
	}
	if err != nil || !c.variables {
		return path, err
	}
	variables := 0
	for i, segment := range strings.Split(path, string(rune(c.separator))) {
		if segment == principalVariable {
			if variables++; i >= deepestVariable {
				return "", refuse(InvalidPath, "path", path, "a variable among the first "+strconv.Itoa(deepestVariable)+" segments")
			}
		} else if segment[0] == '$' {
			return "", refuse(InvalidPath, "variable", segment, principalVariable)
		}
	}
	if variables > 1 {
		return "", refuse(InvalidPath, "path", path, "one variable at most")
	}
	return path, nil
}

// clean drops what makes no difference.
func (s Separator) clean(path string) string {
	if s == Dot {
		return path
	}
	tidy := path == "" || path[0] != '/' && path[len(path)-1] != '/' && !strings.Contains(path, "//")
	if tidy {
		return path
	}
	return strings.Join(strings.FieldsFunc(path, func(c rune) bool { return c == '/' }), "/")
}

// checkName returns InvalidArgument for a name that nobody and nothing can have.
func checkName(what, name string) error {
	if name == "" || len(name) > maxNameBytes || !script.IsText(name) {
		return refuse(InvalidArgument, what, name, "1 to 512 bytes of UTF-8 without control characters")
	}
	return nil
}
