package chansec_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the root module is made of. Whoever needs more changes these tables, on purpose.
const (
	rootPath    = "github.com/chansec/chansec"
	jwtPath     = "github.com/golang-jwt/jwt/v5"
	uuidPath    = "github.com/google/uuid"
	testifyPath = "github.com/stretchr/testify"
)

// directRequirements is what go.mod requires, apart from what those modules require themselves.
var directRequirements = []string{jwtPath, uuidPath, testifyPath}

// mayImport is what the code of each directory may import, beside the standard library; "/..." is everything below. The
// first row that fits counts.
var mayImport = []struct {
	dir     string
	imports []string
	why     string
}{
	{".", []string{rootPath + "/driver", rootPath + "/internal/...", jwtPath, uuidPath}, "every user of chansec links what the root imports"},
	{"driver", []string{uuidPath}, "a backend knows no identities and decides nothing"},
	{"internal/topicvectors", []string{rootPath + "/policy"}, "cases for tests, of the rule that a policy keeps"},
	{"internal/...", []string{rootPath + "/driver", rootPath + "/internal/...", jwtPath, uuidPath}, "the parts do not know the whole"},
	{"policy/policytest", []string{rootPath, rootPath + "/policy", rootPath + "/policy/policytest"}, "users who test their own backends inherit what it imports"},
	{"policy", []string{rootPath, rootPath + "/internal/...", rootPath + "/audit", rootPath + "/policy"}, "a policy decides about names: it sees no message, no token and no backend of a channel"},
	{"authn/authntest", []string{rootPath, rootPath + "/authn", rootPath + "/authn/authntest"}, "users who test their own handlers inherit what it imports"},
	{"authn", []string{rootPath, rootPath + "/internal/...", rootPath + "/audit", rootPath + "/authn"}, "who is calling is found out without knowing what they may do"},
	{"session/sessiontest", []string{rootPath, rootPath + "/session", rootPath + "/session/sessiontest"}, "users who test their own backends inherit what it imports"},
	{"session", []string{rootPath, rootPath + "/audit", rootPath + "/authn", rootPath + "/session"}, "a session is a caller that authn let in"},
	{"audit/...", []string{rootPath, rootPath + "/audit"}, "a trail records decisions and takes no part in them"},
	{"rbac", []string{rootPath, rootPath + "/internal/...", rootPath + "/rbac"}, "rules of services know tokens and requests, and no channel's backend"},
	{"chansectest/...", []string{rootPath, rootPath + "/driver", uuidPath}, "users who test their own types inherit what it imports"},
	{"examples/...", []string{rootPath, rootPath + "/driver", rootPath + "/policy", rootPath + "/rbac", rootPath + "/authn", rootPath + "/session", rootPath + "/audit", uuidPath}, "an example shows what users can do themselves"},
}

// testsMayImport is what tests may import beside that, except those of driver and internal, which stay below the root.
var (
	testsMayImport = []string{testifyPath + "/..."}
	testsAbove     = []string{rootPath, rootPath + "/driver", rootPath + "/internal/...", rootPath + "/chansectest", uuidPath, jwtPath}
)

// deciding is the code between a request and a yes.
var deciding = []string{"guard.go", "watch.go", "open.go", "acl.go", "jwt.go", "internal/token/...", "internal/strictjson/...", "internal/atomicmap/...", "internal/hamt/...", "internal/script/...", "policy/...", "authn", "session", "rbac"}

// meaningless are names that say nothing about what is inside.
var meaningless = []string{"util", "utils", "common", "helper", "helpers", "types", "misc"}

// goFile is a Go file, by its path within the root module, and what it imports, whatever its build constraints say.
type goFile struct {
	path    string
	pkg     string
	imports []string
}

// importProblems returns what is wrong with files of the root module.
func importProblems(files []goFile) []string {
	var found []string
	for _, f := range files {
		allowed, why, known := allowedFor(f)
		if !known {
			found = append(found, fmt.Sprintf("%s: no row of mayImport says what this directory may import", f.path))
			continue
		}
		for _, i := range f.imports {
			switch {
			case !isStandard(i) && !slices.ContainsFunc(allowed, func(p string) bool { return fits(p, i) }):
				found = append(found, fmt.Sprintf("%s imports %s, but may import %s only: %s", f.path, i, strings.Join(allowed, ", "), why))
			case (i == "unsafe" || i == "reflect") && !f.isTest() && slices.ContainsFunc(deciding, func(p string) bool { return fits(p, f.path) }):
				found = append(found, fmt.Sprintf("%s imports %s, which has no place where it is decided who may do what", f.path, i))
			}
		}
	}
	return found
}

func allowedFor(f goFile) (imports []string, why string, known bool) {
	for _, row := range mayImport {
		if !fits(row.dir, path.Dir(f.path)) {
			continue
		}
		imports = slices.Clone(row.imports)
		if f.isTest() {
			imports = append(imports, testsMayImport...)
			if row.dir != "driver" && row.dir != "internal/..." {
				imports = append(imports, testsAbove...)
			}
		}
		return imports, row.why, true
	}
	return nil, "", false
}

// misnamed returns the packages whose names say nothing.
func misnamed(files []goFile) []string {
	var found []string
	for _, f := range files {
		for _, name := range []string{strings.TrimSuffix(f.pkg, "_test"), path.Base(path.Dir(f.path))} {
			if slices.Contains(meaningless, name) {
				found = append(found, fmt.Sprintf("%s: a package called %s may hold anything: name it by what it is for", f.path, name))
				break
			}
		}
	}
	return found
}

func (f goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// fits reports whether a path is the pattern's, or below it where the pattern ends in "/...".
func fits(pattern, name string) bool {
	above, tree := strings.CutSuffix(pattern, "/...")
	return name == above || tree && strings.HasPrefix(name, above+"/")
}

func isStandard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

// goFiles returns every Go file of the root module, and, if asked for, of those nested in it.
func goFiles(t *testing.T, nested bool) []goFile {
	var files []goFile
	require.NoError(t, filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != ".":
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if d.Name() == "testdata" || d.Name()[0] == '.' || err == nil && !nested {
				return filepath.SkipDir
			}
			return nil
		case filepath.Ext(name) != ".go":
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		f := goFile{path: filepath.ToSlash(name), pkg: parsed.Name.Name}
		for _, spec := range parsed.Imports {
			i, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			f.imports = append(f.imports, i)
		}
		files = append(files, f)
		return nil
	}))
	require.NotEmpty(t, files)
	return files
}

func TestDependenciesGoOneWay(t *testing.T) {
	require.Empty(t, importProblems(goFiles(t, false)))
}

func TestDependenciesHaveNamesThatSaySomething(t *testing.T) {
	require.Empty(t, misnamed(goFiles(t, true)))
}

func TestDependenciesOfTheRootModuleAreThree(t *testing.T) {
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	require.NoError(t, json.Unmarshal(goCommand(t, "mod", "edit", "-json"), &mod))
	var got []string
	for _, r := range mod.Require {
		if !r.Indirect {
			got = append(got, r.Path)
		}
	}
	require.ElementsMatch(t, directRequirements, got, "users inherit every module that go.mod requires: these three are agreed on, and no other")
}

func TestDependenciesThatUsersLinkAreTwo(t *testing.T) {
	list := json.NewDecoder(bytes.NewReader(goCommand(t, "list", "-deps", "-json=ImportPath,Module", "./...")))
	for {
		var p struct {
			ImportPath string
			Module     *struct{ Path string }
		}
		err := list.Decode(&p)
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		if p.Module != nil {
			require.Contains(t, []string{rootPath, jwtPath, uuidPath}, p.Module.Path, "%s is linked into the programs of users", p.ImportPath)
		}
	}
}

// goCommand runs the go command on the root module by itself, and returns what it prints.
func goCommand(t *testing.T, args ...string) []byte {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	return out
}

func TestDependencyRulesCanFail(t *testing.T) {
	for name, tt := range map[string]struct {
		file goFile
		want string // part of the reason; empty: there is nothing wrong
	}{
		"the root may import its backend interface":        {goFile{"port.go", "chansec", []string{"context", rootPath + "/driver", uuidPath}}, ""},
		"its tests may import testify":                     {goFile{"port_test.go", "chansec", []string{testifyPath + "/require"}}, ""},
		"its code may not":                                 {goFile{"port.go", "chansec", []string{testifyPath + "/require"}}, "every user of chansec links"},
		"nor may it import what tests securities":          {goFile{"port.go", "chansec", []string{rootPath + "/chansectest"}}, "every user of chansec links"},
		"nor a module that nobody agreed on":               {goFile{"port.go", "chansec", []string{"golang.org/x/sync/errgroup"}}, "every user of chansec links"},
		"a driver may not import the root":                 {goFile{"driver/driver.go", "driver", []string{rootPath}}, "knows no identities"},
		"nor internal packages":                            {goFile{"driver/driver.go", "driver", []string{rootPath + "/internal/memory"}}, "knows no identities"},
		"internal packages may not import the root":        {goFile{"internal/memory/log.go", "memory", []string{rootPath}}, "do not know the whole"},
		"nor may their tests":                              {goFile{"internal/memory/log_test.go", "memory_test", []string{rootPath}}, "do not know the whole"},
		"chansectest may not import testify":               {goFile{"chansectest/security.go", "chansectest", []string{testifyPath + "/require"}}, "inherit what it imports"},
		"nor internal packages, which users do not have":   {goFile{"chansectest/driver.go", "chansectest", []string{rootPath + "/internal/memory"}}, "inherit what it imports"},
		"examples may not import internal packages":        {goFile{"examples/custom/main.go", "main", []string{rootPath + "/internal/token"}}, "what users can do"},
		"a new directory needs a row":                      {goFile{"console/page.go", "console", nil}, "no row of mayImport"},
		"a policy may import the root":                     {goFile{"policy/tree.go", "policy", []string{rootPath, rootPath + "/internal/hamt"}}, ""},
		"nor may it reach for a channel's backend":         {goFile{"policy/tree.go", "policy", []string{rootPath + "/driver"}}, "sees no message"},
		"policytest may not import testify":                {goFile{"policy/policytest/backend.go", "policytest", []string{testifyPath + "/require"}}, "inherit what it imports"},
		"it may not use reflection":                        {goFile{"policy/evaluate.go", "policy", []string{"reflect"}}, "no place"},
		"the guard may not use reflection":                 {goFile{"guard.go", "chansec", []string{"reflect"}}, "no place"},
		"the token door may not use unsafe":                {goFile{"internal/token/door.go", "token", []string{"unsafe"}}, "no place"},
		"its tests may use reflection":                     {goFile{"internal/token/door_test.go", "token", []string{"reflect"}}, ""},
		"messages, which decide nothing, may use it":       {goFile{"message.go", "chansec", []string{"reflect"}}, ""},
		"a directory called types is misnamed":             {goFile{"internal/types/role.go", "roles", nil}, "name it by what it is for"},
		"a package called util is misnamed, in every room": {goFile{"internal/memory/ring.go", "util", nil}, "name it by what it is for"},
	} {
		t.Run(name, func(t *testing.T) {
			found := append(importProblems([]goFile{tt.file}), misnamed([]goFile{tt.file})...)
			if tt.want == "" {
				require.Empty(t, found)
				return
			}
			require.Len(t, found, 1)
			require.Contains(t, found[0], tt.want)
		})
	}
}
