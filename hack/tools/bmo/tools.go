//go:build tools

// Package tools names the upstream baremetal-operator that runs against ironic-sim in tests.
package tools

import _ "github.com/metal3-io/baremetal-operator"
