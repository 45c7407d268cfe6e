package main

import (
	"bytes"
	"fmt"
	"image/color"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Colours that can be told apart on white, by those too who see no red or no green.
var (
	blue   = color.RGBA{R: 0x1f, G: 0x5f, B: 0xa8, A: 0xff}
	orange = color.RGBA{R: 0xd9, G: 0x7b, B: 0x0d, A: 0xff}
)

// A line is one figure over time.
type line struct {
	name  string
	color color.Color
	of    func(sample) float64
}

// picture draws two charts, one above the other, into an SVG file.
func picture(file string, course []sample) error {
	const mebi = 1 << 20
	memory, err := chart("MiB", course,
		line{"resident", blue, func(s sample) float64 { return s.resident / mebi }},
		line{"heap in use", orange, func(s sample) float64 { return s.heap / mebi }})
	if err != nil {
		return err
	}
	counts, err := chart("", course,
		line{"open files", blue, func(s sample) float64 { return s.files }},
		line{"goroutines", orange, func(s sample) float64 { return s.goroutines }})
	if err != nil {
		return err
	}
	canvas := vgsvg.New(18*vg.Centimeter, 14*vg.Centimeter)
	tiles := draw.Tiles{Rows: 2, Cols: 1, PadY: vg.Centimeter / 2, PadTop: vg.Millimeter, PadBottom: vg.Millimeter, PadRight: 3 * vg.Millimeter}
	charts := [][]*plot.Plot{{memory}, {counts}}
	for i, row := range plot.Align(charts, tiles, draw.New(canvas)) {
		charts[i][0].Draw(row[0])
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	if err := os.WriteFile(file, svg.Bytes(), 0o644); err != nil { //nolint:gosec // a picture for everybody
		return fmt.Errorf("--plot: %w", err)
	}
	return nil
}

func chart(unit string, course []sample, lines ...line) (*plot.Plot, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text, p.Y.Min = "minutes", unit, 0
	p.Legend.Top = true
	p.Add(plotter.NewGrid())
	for _, l := range lines {
		points := make(plotter.XYs, len(course))
		for i, s := range course {
			points[i] = plotter.XY{X: s.at.Minutes(), Y: l.of(s)}
			p.Y.Max = max(p.Y.Max, 1.25*points[i].Y) // room for the legend
		}
		drawn, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		drawn.Color, drawn.Width = l.color, vg.Points(1.5)
		p.Add(drawn)
		p.Legend.Add(l.name, drawn)
	}
	return p, nil
}
