package sqlstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chansec/chansec/policy"
)

// The tables that say what the policy's changes lead to. Each kind of fact has one, whose rows are exactly these facts, so
// that what lies between two snapshots is written, and what the tables say can be read again and compared.

// relation is a table, or the part of one, of which each row is a fact by itself.
type relation struct {
	kind  policy.FactKind
	table string
	// columns are what a fact's row consists of; how they are found from the values of a fact, which are v.column1 and so
	// on, is from. The first unique many are what the row is known by.
	columns, from string
	unique        int
	values        func(policy.Fact) []any
	// read yields the values again, and fact makes a fact of them.
	read string
	fact func(v []string) (policy.Fact, error)
}

const (
	joinRole  = " join role r on r.name = v.column1"
	joinTopic = " join topic t on t.name = v.column2"
)

var relations = []relation{
	{
		kind: policy.FactAssigned, table: "assignment", columns: "role_id, topic_id", from: "r.id, t.id" + rows + joinRole + joinTopic, unique: 2,
		values: func(f policy.Fact) []any { return []any{f.Role, f.Path} },
		read:   "select r.name, t.name from assignment x join role r on r.id = x.role_id join topic t on t.id = x.topic_id",
		fact: func(v []string) (policy.Fact, error) {
			return policy.Fact{Kind: policy.FactAssigned, Role: v[0], Path: v[1]}, nil
		},
	},
	grants(policy.FactAllowed, "true"),
	grants(policy.FactDenied, "false"),
	rolePermissions(policy.FactDefault, "default"),
	rolePermissions(policy.FactGlobal, "global"),
	{
		kind: policy.FactIncludes, table: "roleinclude", columns: "role_id, includes_id",
		from: "r.id, o.id" + rows + joinRole + " join role o on o.name = v.column2", unique: 2,
		values: func(f policy.Fact) []any { return []any{f.Role, f.Other} },
		read:   "select r.name, o.name from roleinclude x join role r on r.id = x.role_id join role o on o.id = x.includes_id",
		fact: func(v []string) (policy.Fact, error) {
			return policy.Fact{Kind: policy.FactIncludes, Role: v[0], Other: v[1]}, nil
		},
	},
	{
		kind: policy.FactHolds, table: "userrole", columns: "role_id, login, until",
		from: "r.id, v.column2, nullif(v.column3, '')" + rows + joinRole, unique: 2,
		values: func(f policy.Fact) []any {
			until := ""
			if !f.Until.IsZero() {
				until = stamp(f.Until)
			}
			return []any{f.Role, f.Principal, until}
		},
		read: "select r.name, x.login, coalesce(x.until, '') from userrole x join role r on r.id = x.role_id",
		fact: func(v []string) (f policy.Fact, err error) {
			f = policy.Fact{Kind: policy.FactHolds, Role: v[0], Principal: v[1]}
			if v[2] != "" {
				f.Until, err = parseStamp(v[2])
			}
			return f, err
		},
	},
	sessionRoles(policy.FactNamed, "named"),
	sessionRoles(policy.FactAnonymous, "anonymous"),
}

// rows stands for the values of some facts.
const rows = " from (values {{rows}}) v"

func grants(kind policy.FactKind, allow string) relation {
	return relation{
		kind: kind, table: "topicrole", columns: "role_id, topic_id, type_id, allow",
		from: "r.id, t.id, v.column3, " + allow + rows + joinRole + joinTopic, unique: 4,
		values: func(f policy.Fact) []any { return []any{f.Role, f.Path, f.Permission} },
		read: "select r.name, t.name, x.type_id from topicrole x join role r on r.id = x.role_id join topic t on t.id = x.topic_id where x.allow = " +
			allow,
		fact: func(v []string) (policy.Fact, error) {
			return policy.Fact{Kind: kind, Role: v[0], Path: v[1], Permission: v[2]}, nil
		},
	}
}

func rolePermissions(kind policy.FactKind, scope string) relation {
	return relation{
		kind: kind, table: "rolepermission", columns: "role_id, scope, permission", from: "r.id, '" + scope + "', v.column2" + rows + joinRole, unique: 3,
		values: func(f policy.Fact) []any { return []any{f.Role, f.Permission} },
		read:   "select r.name, x.permission from rolepermission x join role r on r.id = x.role_id where x.scope = '" + scope + "'",
		fact: func(v []string) (policy.Fact, error) {
			return policy.Fact{Kind: kind, Role: v[0], Permission: v[1]}, nil
		},
	}
}

func sessionRoles(kind policy.FactKind, session string) relation {
	return relation{
		kind: kind, table: "sessionrole", columns: "session, role_id", from: "'" + session + "', r.id" + rows + joinRole, unique: 2,
		values: func(f policy.Fact) []any { return []any{f.Role} },
		read:   "select r.name from sessionrole x join role r on r.id = x.role_id where x.session = '" + session + "'",
		fact:   func(v []string) (policy.Fact, error) { return policy.Fact{Kind: kind, Role: v[0]}, nil },
	}
}

// mostRows is how many facts one statement is about.
const mostRows = 100

// inChunks does a statement, in which rows stand for facts, as often as it takes.
func inChunks(ctx context.Context, q querier, statement string, facts []policy.Fact, values func(policy.Fact) []any, more ...any) error {
	for chunk := range slices.Chunk(facts, mostRows) {
		var text strings.Builder
		args := slices.Clone(more)
		for i, f := range chunk {
			if i > 0 {
				text.WriteString(", ")
			}
			for j, v := range values(f) {
				text.WriteString(map[bool]string{true: "(", false: ", "}[j == 0])
				text.WriteString("cast($" + strconv.Itoa(len(args)+1) + " as text)")
				args = append(args, v)
			}
			text.WriteString(")")
		}
		if _, err := q.ExecContext(ctx, strings.Replace(statement, "{{rows}}", text.String(), 1), args...); err != nil {
			return err
		}
	}
	return nil
}

// project writes that some facts are none any more, and others are, in a transaction.
func project(ctx context.Context, q querier, gone, come []policy.Fact, by string, at time.Time) error {
	was, is := byKind(gone), byKind(come)
	if err := addTypes(ctx, q, append(slices.Clone(is[policy.FactAllowed]), is[policy.FactDenied]...)); err != nil {
		return err
	}
	for _, r := range relations {
		names := strings.Split(r.columns, ", ")
		key := strings.Join(names[:r.unique], ", ")
		found, tables, _ := strings.Cut(r.from, " from ")
		found = strings.Join(strings.Split(found, ", ")[:r.unique], ", ")
		statement := "delete from " + r.table + " where (" + key + ") in (select " + found + " from " + tables + ")"
		if err := inChunks(ctx, q, statement, was[r.kind], r.values); err != nil {
			return err
		}
	}
	if err := projectNames(ctx, q, was, is, by, stamp(at)); err != nil {
		return err
	}
	for _, r := range relations {
		found, tables, _ := strings.Cut(r.from, " from ")
		statement := "insert into " + r.table + " (" + r.columns + ", modified_by, modified_at) select " + found +
			", cast($1 as text), cast($2 as text) from " + tables
		if err := inChunks(ctx, q, statement, is[r.kind], r.values, by, stamp(at)); err != nil {
			return err
		}
	}
	return nil
}

func byKind(facts []policy.Fact) map[policy.FactKind][]policy.Fact {
	m := map[policy.FactKind][]policy.Fact{}
	for _, f := range facts {
		m[f.Kind] = append(m[f.Kind], f)
	}
	return m
}

// migratedTypes are the names of permissions that the table activity_type has from the beginning.
var migratedTypes = map[string]bool{"call": true, "register": true, "publish": true, "subscribe": true, "admin": true}

// addTypes adds the names of permissions that are new.
func addTypes(ctx context.Context, q querier, facts []policy.Fact) error {
	seen := maps.Clone(migratedTypes)
	facts = slices.DeleteFunc(facts, func(f policy.Fact) bool {
		was := seen[f.Permission]
		seen[f.Permission] = true
		return was
	})
	return inChunks(ctx, q, "insert into activity_type (id, name) select v.column1, v.column1"+rows+
		" where not exists (select 1 from activity_type a where a.id = v.column1)",
		facts, func(f policy.Fact) []any { return []any{f.Permission} })
}

// projectNames writes the topics and roles. Those that change stay the rows that they are: others refer to them, and people
// may have described them.
func projectNames(ctx context.Context, q querier, was, is map[policy.FactKind][]policy.Fact, by, at string) error {
	flag := map[bool]string{true: "yes", false: ""}
	path := func(f policy.Fact) []any { return []any{f.Path, flag[f.Topic], flag[f.Isolated]} }
	role := func(f policy.Fact) []any { return []any{f.Role, f.Path, f.Principal} }
	names := func(values func(policy.Fact) []any) func(policy.Fact) []any {
		return func(f policy.Fact) []any { return values(f)[:1] }
	}
	left := func(kind policy.FactKind, name func(policy.Fact) string) []policy.Fact {
		stays := map[string]bool{}
		for _, f := range is[kind] {
			stays[name(f)] = true
		}
		return slices.DeleteFunc(slices.Clone(was[kind]), func(f policy.Fact) bool { return stays[name(f)] })
	}
	const modified = ", cast($1 as text), cast($2 as text)"
	const update = " on conflict (name) do update set modified_by = excluded.modified_by, modified_at = excluded.modified_at, "
	for _, x := range []struct {
		statement string
		facts     []policy.Fact
		values    func(policy.Fact) []any
		more      []any
	}{
		{"insert into topic (name, listed, isolated, modified_by, modified_at) select v.column1, v.column2 <> '', v.column3 <> ''" + modified + rows +
			" where true" + update + "listed = excluded.listed, isolated = excluded.isolated", is[policy.FactPath], path, []any{by, at}},
		{"insert into role (name, bind_to, locked_by, modified_by, modified_at) select v.column1, t.id, v.column3" + modified + rows +
			" left join topic t on t.name = v.column2 where true" + update + "bind_to = excluded.bind_to, locked_by = excluded.locked_by",
			is[policy.FactRole], role, []any{by, at}},
		{"delete from role where name in (select v.column1" + rows + ")",
			left(policy.FactRole, func(f policy.Fact) string { return f.Role }), names(role), nil},
		{"delete from topic where name in (select v.column1" + rows + ")",
			left(policy.FactPath, func(f policy.Fact) string { return f.Path }), names(path), nil},
	} {
		if err := inChunks(ctx, q, x.statement, x.facts, x.values, x.more...); err != nil {
			return err
		}
	}
	return nil
}

// projected reads the facts that the tables say.
func projected(ctx context.Context, q querier) (facts map[policy.Fact]bool, err error) {
	facts = map[policy.Fact]bool{}
	read := append([]relation{
		{read: "select name, case when listed then 'yes' else '' end, case when isolated then 'yes' else '' end from topic",
			fact: func(v []string) (policy.Fact, error) {
				return policy.Fact{Kind: policy.FactPath, Path: v[0], Topic: v[1] != "", Isolated: v[2] != ""}, nil
			}},
		{read: "select r.name, coalesce(t.name, ''), r.locked_by from role r left join topic t on t.id = r.bind_to",
			fact: func(v []string) (policy.Fact, error) {
				return policy.Fact{Kind: policy.FactRole, Role: v[0], Path: v[1], Principal: v[2]}, nil
			}},
	}, relations...)
	for _, r := range read {
		if err := r.readInto(ctx, q, facts); err != nil {
			return nil, err
		}
	}
	return facts, nil
}

func (r relation) readInto(ctx context.Context, q querier, facts map[policy.Fact]bool) error {
	found, err := q.QueryContext(ctx, r.read)
	if err != nil {
		return err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return err
	}
	v := make([]string, len(columns))
	into := make([]any, len(v))
	for i := range v {
		into[i] = &v[i]
	}
	for found.Next() {
		if err := found.Scan(into...); err != nil {
			return err
		}
		f, err := r.fact(v)
		if err != nil {
			return fmt.Errorf("sqlstore: table %s: %w", r.table, err)
		}
		facts[f] = true
	}
	return found.Err()
}

// rebuild makes the tables say what a snapshot does, whatever they say now.
func rebuild(ctx context.Context, q querier, is *policy.Snapshot, by string, at time.Time) error {
	gone, err := projected(ctx, q)
	if err != nil {
		return err
	}
	_, all := is.Since(nil)
	come := slices.DeleteFunc(all, func(f policy.Fact) bool {
		was := gone[f]
		delete(gone, f)
		return was
	})
	var list []policy.Fact
	for f := range gone {
		list = append(list, f)
	}
	return project(ctx, q, list, come, by, at)
}

// TableChange says what became of one row (sqlauth.md 3).
type TableChange struct {
	Table     string      // such as topicrole
	Operation string      // insert, update or delete
	Row       policy.Fact // what the row says now, or, deleted, what it said
	By        string      // who did it; empty for the program itself, and where several did
	Revision  uint64      // of the policy, that it was part of, or one before
}

// tableOf returns the table that has the rows of a kind of facts.
func tableOf(kind policy.FactKind) string {
	switch kind {
	case policy.FactPath:
		return "topic"
	case policy.FactRole:
		return "role"
	}
	i := slices.IndexFunc(relations, func(r relation) bool { return r.kind == kind })
	return relations[i].table
}

// tableChanges returns what becomes of rows when some facts are none any more, and others are.
func tableChanges(gone, come []policy.Fact, by string, revision uint64) (list []TableChange) {
	type row struct{ table, name string }
	named := func(f policy.Fact) row {
		switch f.Kind {
		case policy.FactPath:
			return row{"topic", f.Path}
		case policy.FactRole:
			return row{"role", f.Role}
		}
		return row{}
	}
	was, is := map[row]bool{}, map[row]bool{}
	for _, f := range gone {
		was[named(f)] = true
	}
	for _, f := range come {
		is[named(f)] = true
	}
	for _, f := range slices.Backward(gone) { // what refers to others comes first
		if n := named(f); n == (row{}) || !is[n] {
			list = append(list, TableChange{tableOf(f.Kind), "delete", f, by, revision})
		}
	}
	for _, f := range come {
		operation := "insert"
		if n := named(f); n != (row{}) && was[n] {
			operation = "update"
		}
		list = append(list, TableChange{tableOf(f.Kind), operation, f, by, revision})
	}
	return list
}

// tablesFamily is the row of head that says which revision of the policy the tables are at.
const tablesFamily = "tables"

// setTables notes that the tables are at a revision.
func setTables(ctx context.Context, q querier, revision uint64) error {
	_, err := q.ExecContext(ctx, "update head set revision = $2 where family = $1", tablesFamily, int64(revision))
	return err
}

// tables returns at which revision the tables are.
func tables(ctx context.Context, q querier) (revision uint64, err error) {
	err = q.QueryRowContext(ctx, "select revision from head where family = $1", tablesFamily).Scan(&revision)
	return revision, err
}
