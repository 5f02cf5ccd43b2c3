//! Where drawings are placed so that every relation of an arrangement can be seen: clearly apart on the named axis,
//! nearly level on the other, never overlapping.

use super::arrangement::{Arrangement, Group, Relation};
use blip2_data::Stream;

/// A drawing at its place. Lengths are fractions of the picture's side, so that a scene has no fixed size in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    /// Index into [`super::CONCEPTS`].
    pub concept: usize,
    /// Centre, from the left edge.
    pub x: f32,
    /// Centre, from the top edge.
    pub y: f32,
    /// Side of the square that the drawing fills along its longer axis.
    pub side: f32,
}

/// What is kept free along the picture's edges.
const MARGIN: f32 = 0.02;
/// How far two things of a pair may be from level, each way.
const PAIR_TILT: f32 = 0.05;
/// The same in an L; less than the smallest gap there, so that its two ends cannot meet.
const CORNER_TILT: f32 = 0.05;

/// A place on the axis along which things are ordered (`main`) and on the other one (`cross`).
struct Spot {
    concept: usize,
    main: f32,
    cross: f32,
    side: f32,
}

impl Spot {
    fn placed(self, horizontal: bool) -> Placed {
        let (x, y) = if horizontal {
            (self.main, self.cross)
        } else {
            (self.cross, self.main)
        };
        Placed {
            concept: self.concept,
            x,
            y,
            side: self.side,
        }
    }
}

/// Draws places for all drawings of the arrangement, group by group, the subject's first.
pub(super) fn place(arrangement: &Arrangement, stream: &mut Stream) -> Vec<Placed> {
    match arrangement.others[..] {
        [] => alone(arrangement.subject, stream),
        [(relation, other)] => pair(arrangement.subject, relation, other, stream),
        _ => corner(arrangement, stream),
    }
}

fn alone(group: Group, stream: &mut Stream) -> Vec<Placed> {
    let (smallest, largest) = [(0.35, 0.7), (0.28, 0.42), (0.22, 0.27)][group.count - 1];
    let side = stream.between(smallest, largest);
    let horizontal = stream.chance(0.5);
    let cross = stream.between(MARGIN + side / 2.0, 1.0 - MARGIN - side / 2.0);
    row(group, side, cross, stream)
        .into_iter()
        .map(|spot| spot.placed(horizontal))
        .collect()
}

/// The members of a group one after the other along the main axis, level.
fn row(group: Group, side: f32, cross: f32, stream: &mut Stream) -> Vec<Spot> {
    let gap = stream.between(0.02, 0.06);
    let length = row_length(group.count, side, gap);
    let start = stream.between(MARGIN, 1.0 - MARGIN - length);
    (0..group.count)
        .map(|member| {
            let main = start + side / 2.0 + member as f32 * (side + gap);
            Spot {
                concept: group.concept,
                main,
                cross,
                side,
            }
        })
        .collect()
}

fn row_length(count: usize, side: f32, gap: f32) -> f32 {
    count as f32 * side + (count as f32 - 1.0) * gap
}

/// Two groups in order along the relation's axis; the members of a couple stand side by side across it, so that the
/// relation holds for each of them.
fn pair(subject: Group, relation: Relation, other: Group, stream: &mut Stream) -> Vec<Placed> {
    let subject_first = comes_first(relation);
    let mut side = |group: Group| {
        if group.count == 1 {
            stream.between(0.28, 0.42)
        } else {
            stream.between(0.22, 0.28)
        }
    };
    let sides = [side(subject), side(other)];
    let (first, second) = if subject_first { (0, 1) } else { (1, 0) };
    let gap = stream.between(0.04, 0.1);
    let length = sides[0] + gap + sides[1];
    let start = stream.between(MARGIN, 1.0 - MARGIN - length);
    let mut mains = [0.0; 2];
    mains[first] = start + sides[first] / 2.0;
    mains[second] = start + length - sides[second] / 2.0;

    let gaps: [f32; 2] = std::array::from_fn(|_| stream.between(0.03, 0.08));
    let groups = [subject, other];
    let half: [f32; 2] = std::array::from_fn(|at| row_length(groups[at].count, sides[at], gaps[at]) / 2.0);
    let widest = half[0].max(half[1]);
    let level = stream.between(MARGIN + widest, 1.0 - MARGIN - widest);
    let mut placed = Vec::with_capacity(subject.count + other.count);
    for (at, group) in groups.into_iter().enumerate() {
        let centre = tilted(level, PAIR_TILT, half[at], stream);
        for member in 0..group.count {
            let cross = centre - half[at] + sides[at] / 2.0 + member as f32 * (sides[at] + gaps[at]);
            let spot = Spot {
                concept: group.concept,
                main: mains[at],
                cross,
                side: sides[at],
            };
            placed.push(spot.placed(relation.is_horizontal()));
        }
    }
    placed
}

/// Near `level`, but `half` away from the edges.
fn tilted(level: f32, tilt: f32, half: f32, stream: &mut Stream) -> f32 {
    (level + stream.between(-tilt, tilt)).clamp(MARGIN + half, 1.0 - MARGIN - half)
}

/// Three single things: the subject at the corner of an L, the others at its ends and no larger than it.
fn corner(arrangement: &Arrangement, stream: &mut Stream) -> Vec<Placed> {
    let side = stream.between(0.28, 0.36);
    let ends: Vec<(Relation, Group, f32, f32)> = arrangement
        .others
        .iter()
        .map(|(relation, group)| {
            (
                *relation,
                *group,
                stream.between(0.22, side),
                stream.between(0.06, 0.12),
            )
        })
        .collect();
    let mut subject = Placed {
        concept: arrangement.subject.concept,
        x: 0.0,
        y: 0.0,
        side,
    };
    for (relation, _, end, gap) in &ends {
        // The subject's own place on this axis: room for the end on its far side, and for its tilt on the near one.
        let edge = MARGIN + CORNER_TILT;
        let near = edge + side / 2.0;
        let far = edge + end + gap + side / 2.0;
        let (low, high) = if comes_first(*relation) {
            (near, 1.0 - far)
        } else {
            (far, 1.0 - near)
        };
        let place = if relation.is_horizontal() {
            &mut subject.x
        } else {
            &mut subject.y
        };
        *place = stream.between(low, high);
    }
    let mut placed = vec![subject];
    for (relation, group, end, gap) in ends {
        let away = side / 2.0 + gap + end / 2.0;
        let along = if comes_first(relation) { away } else { -away };
        let across = stream.between(-CORNER_TILT, CORNER_TILT);
        let (x, y) = if relation.is_horizontal() {
            (along, across)
        } else {
            (across, along)
        };
        placed.push(Placed {
            concept: group.concept,
            x: subject.x + x,
            y: subject.y + y,
            side: end,
        });
    }
    placed
}

/// Whether the subject of this relation has the smaller coordinate.
fn comes_first(relation: Relation) -> bool {
    matches!(relation, Relation::LeftOf | Relation::Above)
}
