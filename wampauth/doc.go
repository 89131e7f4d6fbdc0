// Package wampauth guards a WAMP router.
package wampauth
