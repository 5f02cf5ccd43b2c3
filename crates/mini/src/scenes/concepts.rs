//! What scenes show: 60 common things that all four sets draw under the same icon name.

/// A thing that can be shown, with the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concept {
    /// The icon's name, the same in all four sets.
    pub icon: &'static str,
    /// "a" or "an".
    pub article: &'static str,
    /// The name of one.
    pub singular: &'static str,
    /// The name of several.
    pub plural: &'static str,
}

const fn concept(
    icon: &'static str,
    article: &'static str,
    singular: &'static str,
    plural: &'static str,
) -> Concept {
    Concept {
        icon,
        article,
        singular,
        plural,
    }
}

/// All concepts: animals, food, vehicles, objects. The order matters: of two things in a picture, the one that stands
/// first here is the subject of the caption, so that the picture alone decides the words.
pub const CONCEPTS: [Concept; 60] = [
    concept("bear", "a", "bear", "bears"),
    concept("butterfly", "a", "butterfly", "butterflies"),
    concept("cat", "a", "cat", "cats"),
    concept("cow", "a", "cow", "cows"),
    concept("crab", "a", "crab", "crabs"),
    concept("dog", "a", "dog", "dogs"),
    concept("duck", "a", "duck", "ducks"),
    concept("elephant", "an", "elephant", "elephants"),
    concept("fox", "a", "fox", "foxes"),
    concept("frog", "a", "frog", "frogs"),
    concept("horse", "a", "horse", "horses"),
    concept("octopus", "an", "octopus", "octopuses"),
    concept("owl", "an", "owl", "owls"),
    concept("penguin", "a", "penguin", "penguins"),
    concept("pig", "a", "pig", "pigs"),
    concept("rabbit", "a", "rabbit", "rabbits"),
    concept("tiger", "a", "tiger", "tigers"),
    concept("turtle", "a", "turtle", "turtles"),
    concept("red-apple", "an", "apple", "apples"),
    concept("banana", "a", "banana", "bananas"),
    concept("birthday-cake", "a", "cake", "cakes"),
    concept("carrot", "a", "carrot", "carrots"),
    concept("cookie", "a", "cookie", "cookies"),
    concept("hamburger", "a", "hamburger", "hamburgers"),
    concept("lemon", "a", "lemon", "lemons"),
    concept("mushroom", "a", "mushroom", "mushrooms"),
    concept("pear", "a", "pear", "pears"),
    concept("pineapple", "a", "pineapple", "pineapples"),
    concept("pizza", "a", "pizza", "pizzas"),
    concept("sandwich", "a", "sandwich", "sandwiches"),
    concept("strawberry", "a", "strawberry", "strawberries"),
    concept("tomato", "a", "tomato", "tomatoes"),
    concept("airplane", "an", "airplane", "airplanes"),
    concept("ambulance", "an", "ambulance", "ambulances"),
    concept("bicycle", "a", "bicycle", "bicycles"),
    concept("bus", "a", "bus", "buses"),
    concept("automobile", "a", "car", "cars"),
    concept("helicopter", "a", "helicopter", "helicopters"),
    concept("motorcycle", "a", "motorcycle", "motorcycles"),
    concept("rocket", "a", "rocket", "rockets"),
    concept("sailboat", "a", "sailboat", "sailboats"),
    concept("tractor", "a", "tractor", "tractors"),
    concept("locomotive", "a", "train", "trains"),
    concept("alarm-clock", "an", "alarm clock", "alarm clocks"),
    concept("balloon", "a", "balloon", "balloons"),
    concept("bell", "a", "bell", "bells"),
    concept("cactus", "a", "cactus", "cactuses"),
    concept("camera", "a", "camera", "cameras"),
    concept("candle", "a", "candle", "candles"),
    concept("chair", "a", "chair", "chairs"),
    concept("crown", "a", "crown", "crowns"),
    concept("drum", "a", "drum", "drums"),
    concept("guitar", "a", "guitar", "guitars"),
    concept("hammer", "a", "hammer", "hammers"),
    concept("house", "a", "house", "houses"),
    concept("key", "a", "key", "keys"),
    concept("light-bulb", "a", "light bulb", "light bulbs"),
    concept("soccer-ball", "a", "soccer ball", "soccer balls"),
    concept("evergreen-tree", "a", "tree", "trees"),
    concept("umbrella", "an", "umbrella", "umbrellas"),
];
