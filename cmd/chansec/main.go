// Command chansec does by hand what chansec does for programs.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "chansec: no command")
	os.Exit(2)
}
