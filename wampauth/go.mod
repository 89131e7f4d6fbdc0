module github.com/chansec/chansec/wampauth

go 1.26.0

replace github.com/chansec/chansec => ../
