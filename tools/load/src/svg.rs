//! SVG, by hand: the few elements that the charts are made of.

/// Text; all is on white, with one strong colour.
pub const INK: &str = "#1f2933";
/// Less important text.
pub const FAINT: &str = "#6b7785";
/// Lines of a grid.
pub const RULE: &str = "#dde3e9";
/// What a picture is about.
pub const OURS: &str = "#0b6bcb";
/// A bound.
pub const FLOOR: &str = "#8a94a0";
/// Something to compare with.
pub const PEER: &str = "#b9c4d0";
/// A spread.
pub const WHISKER: &str = "#3d4852";

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// How a text looks.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Height of a line (px).
    pub size: f64,
    /// Its colour.
    pub colour: &'static str,
    /// Whether it is bold.
    pub bold: bool,
    /// Where it stands.
    pub anchor: Anchor,
}

impl Style {
    /// A text that begins at its point.
    pub const fn new(size: f64, colour: &'static str) -> Self {
        Self { size, colour, bold: false, anchor: Anchor::Start }
    }

    /// The same in bold.
    pub const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }

    /// The same elsewhere.
    pub const fn at(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }
}

/// A picture in the making.
#[derive(Debug)]
pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// An empty picture.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    /// A rectangle.
    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        self.body += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{colour}\"/>\n"
        );
    }

    /// A line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str, width: f64) {
        self.body += &format!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>\n",
            from.0, from.1, to.0, to.1
        );
    }

    /// A dashed line, as for a target.
    pub fn dashes(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        self.body += &format!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-dasharray=\"3 3\"/>\n",
            from.0, from.1, to.0, to.1
        );
    }

    /// A line through points, with a dot at each.
    pub fn curve(&mut self, points: &[(f64, f64)], colour: &str) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n",
            path.join(" ")
        );
        for (x, y) in points {
            self.body +=
                &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>\n");
        }
    }

    /// A text.
    pub fn text(&mut self, at: (f64, f64), text: &str, style: Style) {
        self.write(at, text, style, "");
    }

    /// A line through points without dots, for many of them.
    pub fn path(&mut self, points: &[(f64, f64)], colour: &str) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>\n",
            path.join(" ")
        );
    }

    /// A text with a white edge, which stays legible on top of lines.
    pub fn label(&mut self, at: (f64, f64), text: &str, style: Style) {
        let edge = " paint-order=\"stroke\" stroke=\"#ffffff\" stroke-width=\"4\" stroke-linejoin=\"round\"";
        self.write(at, text, style, edge);
    }

    fn write(&mut self, (x, y): (f64, f64), text: &str, style: Style, more: &str) {
        let anchor = match style.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let weight = if style.bold { " font-weight=\"600\"" } else { "" };
        self.body += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{anchor}\"{weight}{more}>{}</text>\n",
            style.size,
            style.colour,
            escaped(text)
        );
    }

    /// The whole picture, on white.
    pub fn finish(self, title: &str) -> String {
        let (width, height) = (self.width, self.height);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif\" role=\"img\">\n\
             <title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{}</svg>\n",
            escaped(title),
            self.body
        )
    }
}

/// Text as XML and HTML take it.
#[must_use]
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The smallest of 1, 2, 2.5, 5 times a power of ten that is not below `value`: the end of an axis.
pub fn ceiling(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = steps.into_iter().find(|step| step * power >= value * 0.999_999);
    step.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        let ends = [0.0, 0.03, 1.0, 1.7, 2.4, 3.0, 9.9, 12.0, 16_000.0].map(ceiling);
        let want = [1.0, 0.05, 1.0, 2.0, 2.5, 5.0, 10.0, 20.0, 20_000.0];
        for (end, want) in ends.iter().zip(want) {
            assert!((end - want).abs() < 1e-9, "{end} {want}");
        }
    }

    #[test]
    fn text_cannot_break_the_picture() {
        let mut svg = Svg::new(10.0, 10.0);
        svg.text((1.0, 2.0), "<a> & \"b\"", Style::new(8.0, INK).bold().at(Anchor::End));
        let text = svg.finish("t<");
        assert!(text.contains(">&lt;a&gt; &amp; &quot;b&quot;</text>"), "{text}");
        assert!(text.contains("<title>t&lt;</title>"), "{text}");
    }
}
