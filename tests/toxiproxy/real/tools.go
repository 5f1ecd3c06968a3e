//go:build tools

// Package real pins the real Toxiproxy server the tests compare the embedded one with: this
// import keeps its modules in go.mod and go.sum. It is never compiled, .ci/toxiproxy builds the
// command itself.
package real

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
