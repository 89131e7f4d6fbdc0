// Package policy decides who may do what on hierarchical channels: principals hold roles, roles include roles, and roles
// are assigned permissions on paths.
//
//	store, err := policy.New(policy.DiffusionConfig())
//	err = store.Update(ctx, policy.Root(), func(tx *policy.Tx) error {
//		tx.SetPathPermissions("TRADER", "prices", "READ_TOPIC", "SELECT_TOPIC")
//		tx.IsolatePath("prices/internal")
//		return tx.AssignRoles("alice", "TRADER")
//	})
//	security, err := chansec.Join(tokens, store.Authorizer(), tokens)
//	fx, err := chansec.NewBroadcast[Price]("prices/fx", chansec.WithSecurity(security))
//
// # Two systems, one engine
//
// A store follows one of two rules, each exactly as the system has it that it is from. With NearestAssignment, Diffusion's,
// the nearest path counts that has an assignment for any of the caller's roles; assignments may be empty, paths may be
// isolated, and there are defaults. Mind that in this system one role more can mean less: its assignment may be nearer, and
// hide what another role has higher up. With AnyAncestor, sqlauth's, a grant on a path holds for everything below it.
//
// The permissions are data, too: see Vocabulary.
//
// # Changes
//
// Every change is a transaction: a function on a Tx (Update), or a script in Diffusion's language (UpdateScript). It comes
// into force as a whole or not at all, before the call returns: no message that is written later reaches a lease that it
// takes the ground from. A store that was opened with a Backend remembers its changes, and acknowledges none that it might forget:
// a ScriptFile is one script that people may edit, a FileBackend a folder of changes.
//
// Snapshot.Lint finds what in a store may be a mistake, and Store.Preview says what a change would do. Predefined is
// Diffusion's usual roles, and Store.Bootstrap adds the first administrator.
//
// # Administrators
//
// Who may change a store is Root, or who holds the vocabulary's Modify permission. With Config.Delegation everybody else
// may change what they administer, as sqlauth has it: who has the Admin permission on a path may hand out what is there and
// below, to roles that they administer, which are those bound to a path of theirs. Two things follow. A new role may
// administer itself, so that each of its members may add others (NoSelfGrant leaves that out). And who administers a
// path and is in a role may do everything there. With Config.Ceiling nobody, however privileged, hands out what they do not
// hold.
//
// # What is guaranteed
//
// Unknown names are errors, an empty list is nothing, and a zero Actor or Config is refused. A decision sees all of a
// change or nothing of it. An explanation is made by the code that decides.
package policy
