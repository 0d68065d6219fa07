// Readlog checks a log by programs that are not the bank's: the client of Tessera fetches it (C2SP tlog-tiles), the sumdb
// packages of Go and the note package of transparency.dev verify it.
//
//	readlog <prefix of the log> <verifier key of the log>... [-- <verifier key of a witness>...]
//
// Every key given must have signed the checkpoint; the first is the Ed25519 key of the log. It prints a JSON object, or one
// line on standard error and exits with 1.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"slices"
	"time"

	checkpoints "github.com/transparency-dev/formats/log"
	cosignatures "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/tessera/client"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	timeout    = 5 * time.Minute
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// Report is what was verified.
type Report struct {
	Origin  string   `json:"origin"`
	Size    int64    `json:"size"`
	Root    string   `json:"root"`
	Tiles   int      `json:"tiles"`
	Proofs  int      `json:"proofs"`
	Signers []string `json:"signers"`
	Times   []string `json:"times"`
	Entries [][]byte `json:"entries"`
}

func main() {
	report, err := read(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read(arguments []string) (*Report, error) {
	if len(arguments) < 2 {
		return nil, errors.New("usage: readlog <prefix> <key>... [-- <key>...]")
	}
	prefix, err := url.Parse(arguments[0])
	if err != nil {
		return nil, err
	}
	fetcher, err := client.NewHTTPFetcher(prefix, nil)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	report, checkpoint, err := open(ctx, fetcher, arguments[1:])
	if err != nil {
		return nil, err
	}
	log := &log{fetcher: fetcher, size: int64(checkpoint.Size), root: tlog.Hash(checkpoint.Hash)}
	if err := log.readEntries(ctx); err != nil {
		return nil, err
	}
	if report.Tiles, err = log.compareTiles(ctx); err != nil {
		return nil, err
	}
	if report.Proofs, err = log.checkProofs(ctx); err != nil {
		return nil, err
	}
	report.Entries = log.entries[max(0, len(log.entries)-3):]
	return report, nil
}

// open returns the checkpoint that every given key has signed.
func open(ctx context.Context, fetcher *client.HTTPFetcher, keys []string) (*Report, *checkpoints.Checkpoint, error) {
	raw, err := fetcher.ReadCheckpoint(ctx)
	if err != nil {
		return nil, nil, err
	}
	log, err := note.NewVerifier(keys[0])
	if err != nil {
		return nil, nil, fmt.Errorf("the Ed25519 key of the log: %w", err)
	}
	others := []note.Verifier{}
	for _, key := range keys[1:] {
		if key == "--" {
			continue
		}
		verifier, err := cosignatures.NewVerifierForCosignatureV1(key)
		if err != nil {
			return nil, nil, fmt.Errorf("a further key: %w", err)
		}
		others = append(others, verifier)
	}
	checkpoint, rest, signed, err := checkpoints.ParseCheckpoint(raw, log.Name(), log, others...)
	if err != nil {
		return nil, nil, err
	}
	if len(rest) > 0 {
		return nil, nil, errors.New("the checkpoint has extension lines")
	}
	if len(checkpoint.Hash) != tlog.HashSize {
		return nil, nil, errors.New("the root has not 32 bytes")
	}
	report := &Report{Origin: checkpoint.Origin, Size: int64(checkpoint.Size), Root: fmt.Sprintf("%x", checkpoint.Hash)}
	for _, verifier := range append([]note.Verifier{log}, others...) {
		place := slices.IndexFunc(signed.Sigs, func(s note.Signature) bool {
			return s.Name == verifier.Name() && s.Hash == verifier.KeyHash()
		})
		if place < 0 {
			return nil, nil, fmt.Errorf("%s+%08x has not signed", verifier.Name(), verifier.KeyHash())
		}
		report.Signers = append(report.Signers, verifier.Name())
		if verifier != log {
			at, err := cosignatures.CoSigV1Timestamp(signed.Sigs[place])
			if err != nil {
				return nil, nil, err
			}
			report.Times = append(report.Times, at.UTC().Format(time.RFC3339))
		}
	}
	return report, checkpoint, nil
}

// log is a log of a size and a root, and what its entries hash to, as the sumdb packages store it.
type log struct {
	fetcher *client.HTTPFetcher
	size    int64
	root    tlog.Hash
	entries [][]byte
	stored  []tlog.Hash
}

// ReadHashes is the interface tlog.HashReader.
func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for place, index := range indexes {
		if index >= int64(len(l.stored)) {
			return nil, fmt.Errorf("no hash is stored at %d", index)
		}
		hashes[place] = l.stored[index]
	}
	return hashes, nil
}

// readEntries fetches all entries and computes the root from them.
func (l *log) readEntries(ctx context.Context) error {
	for bundle := int64(0); bundle*tileWidth < l.size; bundle++ {
		read, err := client.GetEntryBundle(ctx, l.fetcher.ReadEntryBundle, uint64(bundle), uint64(l.size))
		if err != nil {
			return err
		}
		if want := min(tileWidth, l.size-bundle*tileWidth); int64(len(read.Entries)) != want {
			return fmt.Errorf("the bundle %d has %d entries, not %d", bundle, len(read.Entries), want)
		}
		for _, entry := range read.Entries {
			hashes, err := tlog.StoredHashes(int64(len(l.entries)), entry, l)
			if err != nil {
				return err
			}
			l.entries = append(l.entries, entry)
			l.stored = append(l.stored, hashes...)
		}
	}
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		return err
	}
	if root != l.root {
		return errors.New("the entries do not hash to the root of the checkpoint")
	}
	return nil
}

// compareTiles fetches every tile and compares it with the one that the entries give.
func (l *log) compareTiles(ctx context.Context) (int, error) {
	tiles := tlog.NewTiles(tileHeight, 0, l.size)
	compared := 0
	for _, tile := range tiles {
		// A level that has grown is there at its last width only.
		if last := (l.size >> (tileHeight * tile.L)) - tile.N*tileWidth; int64(tile.W) != min(tileWidth, last) {
			continue
		}
		want, err := tlog.ReadTileData(tile, l)
		if err != nil {
			return 0, err
		}
		served, err := l.fetcher.ReadTile(ctx, uint64(tile.L), uint64(tile.N), uint8(tile.W%tileWidth))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(served, want) {
			return 0, fmt.Errorf("%s is not what the entries give", tile.Path())
		}
		compared++
	}
	return compared, nil
}

// checkProofs builds proofs from the served tiles and verifies them against the root and the entries.
func (l *log) checkProofs(ctx context.Context) (int, error) {
	if l.size == 0 {
		return 0, nil
	}
	builder, err := client.NewProofBuilder(ctx, uint64(l.size), l.fetcher.ReadTile)
	if err != nil {
		return 0, err
	}
	checked := 0
	for _, index := range places(l.size) {
		built, err := builder.InclusionProof(ctx, uint64(index))
		if err != nil {
			return 0, err
		}
		leaf := tlog.RecordHash(l.entries[index])
		if err := tlog.CheckRecord(hashes(built), l.size, l.root, index, leaf); err != nil {
			return 0, fmt.Errorf("inclusion of %d: %w", index, err)
		}
		older := index + 1
		if built, err = builder.ConsistencyProof(ctx, uint64(older), uint64(l.size)); err != nil {
			return 0, err
		}
		root, err := tlog.TreeHash(older, l)
		if err != nil {
			return 0, err
		}
		if err := tlog.CheckTree(hashes(built), l.size, l.root, older, root); err != nil {
			return 0, fmt.Errorf("consistency with %d: %w", older, err)
		}
		checked += 2
	}
	return checked, nil
}

// places are the first, the last, and some indexes between and around the edges of tiles.
func places(size int64) []int64 {
	wanted := []int64{0, 1, tileWidth - 1, tileWidth, tileWidth + 1, tileWidth*tileWidth - 1, tileWidth * tileWidth}
	for part := int64(1); part < 8; part++ {
		wanted = append(wanted, size*part/8)
	}
	wanted = append(wanted, size-2, size-1)
	slices.Sort(wanted)
	wanted = slices.Compact(wanted)
	return slices.DeleteFunc(wanted, func(index int64) bool { return index < 0 || index >= size })
}

func hashes(raw [][]byte) []tlog.Hash {
	converted := make([]tlog.Hash, len(raw))
	for place, each := range raw {
		converted[place] = tlog.Hash(each)
	}
	return converted
}
