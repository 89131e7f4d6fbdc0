package chansectest

// securityRules are what TestSecurity checks, in order.
var securityRules = []rule[*securityTrial]{
	{"names", "AuthorizeRead, AuthorizeWrite and AuthorizeAdmin say yes to exactly what the expectations list, the same " +
		"every time. A denial is false with a nil error (or an error that is ErrPermission); any other error means that no " +
		"decision could be made.", checkNames},
	{"ports", "What a name may do, it may do by every operation of that class on every kind of channel, and nothing else.", checkPorts},
	{"tokens", "Authenticate returns exactly the system that a token proves, again and again, and its holder may do exactly " +
		"what the expectations list, by every operation on every kind of channel.", checkTokens},
	{"bad tokens", "A token that proves nobody is an error that is ErrUnauthenticated, never a panic and never a principal, " +
		"and the error does not contain the token.", checkBadTokens},
	{"strange names", "Names that are empty, unknown, invalid, overlong, that contain control characters or only look like " +
		"a known one are never allowed anything and never make a panic. Names are compared byte for byte.", checkStrangeNames},
	{"unknown operations", "Decide denies the zero request, unknown operations and unknown principals, whatever the " +
		"principal's grant says.", checkUnknownOperations},
	{"decide", "Authorize* says yes only where Decide does, for every operation of that class and every message.", checkDecide},
	{"contents", "A Decider that answers by the message marks its yes as PerMessage: without that, the yes to one message " +
		"serves for others. One that is ContentBlind answers the same with any message and with none.", checkContents},
	{"decorator", "A decorator that forwards nothing but the five methods of ChannelSecurity allows nothing that the security " +
		"itself denies: optional interfaces may add speed and precision, never safety.", checkDecorator},
	{"grants", "The grant of a caller is an upper bound, whatever the security says: a role too low, another channel, a time " +
		"that is over or a zero grant is denied, and a wide grant adds nothing.", checkGrants},
	{"revocation", "Once a revocation returned, nothing that it took is allowed by any operation, an open lease ends, also " +
		"when nobody waits on it, no message that is written later reaches it, and claims go back to the others.", checkRevocation},
	{"revocation while writing", "A message whose write starts after a revocation returned never reaches the lease that it " +
		"cut, however the two race.", checkRevocationRace},
	{"versions", "A Versioned security publishes a change first, then another version, then closes the channel of Changed, " +
		"all before the call that makes the change returns; and it does none of that without a change.", checkVersions},
	{"affected", "AffectedSince returns the systems that the changes since a version were about, or none if it does not know, for " +
		"any number.", checkAffected},
	{"concurrency", "All methods may be called by many goroutines at once while rights change: what is not touched keeps its " +
		"answer.", checkConcurrency},
	{"contexts", "A call whose context has ended returns soon, and never says yes because of it.", checkContexts},
	{"token requests", "GenerateToken refuses requests that make no sense (no or an unknown role, an impossible name or " +
		"channel, AllChannels together with Channels, a negative lifetime), makes no token and gives nobody any right.", checkRequests},
	{"secrets", "No audit event and no error of an operation contains a token or what a message says.", checkSecrets},
}
