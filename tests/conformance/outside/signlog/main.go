// Signlog signs a checkpoint by programs that are not the bank's, with fresh keys: the note package of Go, and the
// cosignatures of transparency.dev (C2SP tlog-cosignature, types 0x04 and 0x06).
//
//	signlog <origin> <size> <root in base64>
//
// It prints a JSON object: the verifier keys of the log and of two witnesses, and the note that all four have signed.
package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	cosignatures "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// Signed is a note and the keys that verify it.
type Signed struct {
	Log       []string `json:"log"`
	Witnesses []string `json:"witnesses"`
	Note      string   `json:"note"`
}

func main() {
	signed, err := sign(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(signed); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func sign(arguments []string) (*Signed, error) {
	if len(arguments) != 3 {
		return nil, errors.New("usage: signlog <origin> <size> <root>")
	}
	origin := arguments[0]
	classical, classicalKey, err := plain(origin)
	if err != nil {
		return nil, err
	}
	quantum, quantumKey, err := lattice(origin)
	if err != nil {
		return nil, err
	}
	first, firstKey, err := lattice("witness.example/w1")
	if err != nil {
		return nil, err
	}
	second, secondKey, err := timestamped("witness.example/w2")
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s\n%s\n%s\n", origin, arguments[1], arguments[2])
	signed, err := note.Sign(&note.Note{Text: text}, classical, quantum, first, second)
	if err != nil {
		return nil, err
	}
	return &Signed{[]string{classicalKey, quantumKey}, []string{firstKey, secondKey}, string(signed)}, nil
}

func plain(name string) (note.Signer, string, error) {
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, "", err
	}
	signer, err := note.NewSigner(private)
	return signer, public, err
}

func lattice(name string) (note.Signer, string, error) {
	private, public, err := cosignatures.GenerateMLDSAKey(name)
	if err != nil {
		return nil, "", err
	}
	signer, err := cosignatures.NewMLDSASigner(private)
	return signer, public, err
}

func timestamped(name string) (note.Signer, string, error) {
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return nil, "", err
	}
	signer, err := cosignatures.NewSignerForCosignatureV1(private)
	if err != nil {
		return nil, "", err
	}
	key, err := cosignatures.VKeyToCosignatureV1(public)
	return signer, key, err
}
