module github.com/chansec/chansec/cmd/chansec

go 1.26.0

replace (
	github.com/chansec/chansec => ../../
	github.com/chansec/chansec/sqlstore => ../../sqlstore
	github.com/chansec/chansec/valve => ../../valve
	github.com/chansec/chansec/wampauth => ../../wampauth
)
