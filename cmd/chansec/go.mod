module github.com/chansec/chansec/cmd/chansec

go 1.26.0

require (
	github.com/chansec/chansec v0.0.0
	github.com/rivo/uniseg v0.4.7
	github.com/schollz/progressbar/v3 v3.19.1
	github.com/spf13/cobra v1.10.2
	github.com/spf13/pflag v1.0.9
	golang.org/x/term v0.45.0
)

require (
	github.com/golang-jwt/jwt/v5 v5.3.1 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mitchellh/colorstring v0.0.0-20190213212951-d06e56a500db // indirect
	github.com/stretchr/testify v1.12.1 // indirect
	golang.org/x/sys v0.47.0 // indirect
)

replace (
	github.com/chansec/chansec => ../../
	github.com/chansec/chansec/sqlstore => ../../sqlstore
	github.com/chansec/chansec/valve => ../../valve
	github.com/chansec/chansec/wampauth => ../../wampauth
)
