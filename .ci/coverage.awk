# Reads a coverage profile and prints the share of covered statements of each file that the gate watches; fails if one of them,
# or internal/token as a whole, is below the least. Blocks that several test binaries report count once.
#
#   awk -v module=github.com/chansec/chansec -v least=98 -v gated="acl.go ..." -f .ci/coverage.awk profile

BEGIN {
	n = split(gated, names, " ")
	for (i = 1; i <= n; i++) watched[names[i]] = 1
}

FNR > 1 {
	block = $1
	if (!(block in statements)) order[++count] = block
	statements[block] = $2
	if ($3 > 0) covered[block] = 1
}

END {
	for (k = 1; k <= count; k++) {
		block = file = order[k]
		sub(/:[^:]*$/, "", file)
		sub("^" module "/", "", file)
		name = (file ~ /^internal\/token\//) ? "internal/token" : file
		if (!(name in watched)) continue
		all[name] += statements[block]
		if (block in covered) hit[name] += statements[block]
		else missed[name] = missed[name] "\n    not covered: " file substr(block, length(module) + length(file) + 2)
	}
	for (i = 1; i <= n; i++) {
		name = names[i]
		if (!all[name]) {
			printf "%-16s no statements in the profile\n", name
			failed = 1
			continue
		}
		percent = 100 * hit[name] / all[name]
		printf "%-16s %6.2f %% of %4d statements\n", name, percent, all[name]
		if (percent < least) {
			print "    BELOW " least " %" missed[name]
			failed = 1
		}
	}
	exit failed
}
