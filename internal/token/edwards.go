package token

import (
	"math/big"
	"slices"
)

// onCurve25519 reports whether an Ed25519 public key (RFC 8032 section 5.1.3)
// is the canonical encoding of a point on the curve whose order does not divide
// 8. A key of such a small order verifies forged signatures; crypto/ed25519
// accepts it, and reports any other wrong key only by verifying nothing.
func onCurve25519(key []byte) bool {
	one := big.NewInt(1)
	p := new(big.Int).Lsh(one, 255)
	p.Sub(p, big.NewInt(19))
	mul := func(a, b *big.Int) *big.Int { c := new(big.Int).Mul(a, b); return c.Mod(c, p) }
	div := func(a, b *big.Int) *big.Int { return mul(a, new(big.Int).ModInverse(b, p)) }
	add := func(a, b *big.Int) *big.Int { c := new(big.Int).Add(a, b); return c.Mod(c, p) }
	sub := func(a, b *big.Int) *big.Int { c := new(big.Int).Sub(a, b); return c.Mod(c, p) }

	bigEndian := slices.Clone(key)
	slices.Reverse(bigEndian)
	bigEndian[0] &= 0x7f // the sign of x
	y := new(big.Int).SetBytes(bigEndian)
	if y.Cmp(p) >= 0 {
		return false
	}
	// The curve is -x² + y² = 1 + d x² y² with d = -121665/121666, so
	// x² = (y² - 1) / (d y² + 1). The divisor is never 0, nor are those below,
	// because neither -1/d nor d is a square. The sign of x does not matter
	// for the order.
	d := div(big.NewInt(-121665), big.NewInt(121666))
	yy := mul(y, y)
	xx := div(sub(yy, one), add(mul(d, yy), one))
	x := new(big.Int).ModSqrt(xx, p)
	if x == nil {
		return false
	}
	for range 3 { // doubling
		xy := mul(x, y)
		xx, yy, dxxyy := mul(x, x), mul(y, y), mul(d, mul(xy, xy))
		x = div(add(xy, xy), add(one, dxxyy))
		y = div(add(yy, xx), sub(one, dxxyy))
	}
	return y.Cmp(one) != 0 // (0, 1), the identity, is the only point with y = 1
}
