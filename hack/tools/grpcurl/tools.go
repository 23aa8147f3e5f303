//go:build tools

// Package tools pins grpcurl.
package tools

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
)
