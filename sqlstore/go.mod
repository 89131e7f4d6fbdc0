module github.com/chansec/chansec/sqlstore

go 1.26.0

replace github.com/chansec/chansec => ../
