// Package valve decides by deepstream's permission files, in the language that deepstream calls Valve: sections, paths,
// rule types, and rules that are one JavaScript expression each.
//
// The program in examples/shop shows it at work.
//
// ParseYAML, ParseJSON and Open load a file, with all the checks that deepstream makes and some more. New and Open make
// Rules of it, which is a chansec.Authorizer, Decider and Versioned. Permissions.Evaluate answers single questions in
// deepstream's own terms. What is decided is what deepstream.io 10.1.4 decides, as recorded from it, apart from the following.
//
// # What deepstream lets through and this package does not
//
//   - A rule allows if its value is true for JavaScript, or exactly true with Strict. For messages of clients deepstream
//     allows everything that is not exactly false, so that undefined, null, 0 and "" let them through.
//   - The first error of a rule is final, and denies. deepstream runs on after an error of _() or of the payload, and
//     performs the action if the rule then says so.
//   - Rules see no objects of the host, such as process, and nothing that another evaluation changed: the built-in objects are
//     frozen, user, data, oldData, records and this are made anew each time.
//   - Names that are no valid UTF-8, and paths that split a character of a name, are errors.
//   - Environment variables are not put in place of ${NAME} in a file.
//
// # What does not load here
//
// A file with any of the following in a rule is refused, with the code Unsafe:
//
//   - relational operators of which the right operand is another one, such as 1 < x < 10, which never is what it looks like;
//     calls of what is computed, and tagged templates;
//   - methods, getters, classes with something in them, statements;
//   - assignments to lengths, elements and computed properties, destructuring into what could be called, and patterns with a rest;
//     assignments to what is frozen or not declared, which do nothing here, unless the rule does nothing else;
//   - another __proto__ than an object literal or null; beside BigInts, powers and shifts by what is no literal up to 1000;
//   - what goja computes otherwise than V8: ?? beside &&, a pattern that assigns to what a call returns, ++, -- and assignments such
//     as -= to a property of what a call returns, and a regular expression with / in a class as a value;
//   - whatever could take more memory than MaxMemory, which is known before it runs: there are no loops, so the sizes of what is
//     read bound the sizes of what is built;
//   - the old HTML comments, numbers such as 09, and \p{} of properties that Go has no tables for.
//
// A function cannot be stored in a property or variable: that throws. So does a computed key that all objects have, such as
// constructor. A computed key __proto__, a power that has to be rounded, and a text that becomes a number and is nearly one (such
// as "0x-5", a number of more than 53 bits with a prefix, or one beside U+0085), are errors. Letters and their properties are those
// of the Unicode that Go knows. Sections named like members of Object.prototype, merge keys and tags of one's own in YAML, texts
// with halves of surrogate pairs, and files, paths and rules that are too long (8 MiB, 1024 and 8192 bytes, 100,000 paths) are
// refused as well.
//
// # Bounds
//
// One run of a rule takes at most TimeLimit (50 ms), one decision reads at most MaxInput (64 KiB), and one run takes at most
// MaxMemory (16 MiB): what is read, as values; what the rule builds; what becomes of it on the way, such as texts of lists; and
// what regular expressions remember. Garbage counts, so what is held at a time is less. It is known before a rule runs, so that a
// file with a rule that could take more does not load; beside MaxInput, these are the bounds that are kept while it runs: all
// regular expressions together take at most 500,000 steps, match returns at most 1,000 matches, a text that is spread has at
// most 1,000 units, and the texts that lists become have at most twice MaxInput. Beyond any of these a rule is an error, which
// denies. Regular expressions are those of package internal/jsregexp, and not of goja, so that they mean what they mean in
// JavaScript and can be stopped. Not counted is the matching of a name with a path that is a regular expression, which takes
// at most 2,000,000 steps and 12 MiB.
//
// # Speed
//
// Rules that only compare the user's ID, texts of the user's data, the name, variables of the path and literals with one another,
// joined by &&, || and !, take no JavaScript at all. Of what the other rules are given, only what their text can reach is made: a
// rule that assigns to nothing and reads data.a.b gets that value and no object, unless it is somewhere else than in objects.
package valve
