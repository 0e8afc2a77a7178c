// The body of a function that returns whether a page shows its data, with all images.
const pending = document.querySelector('.skeleton, .timeline:empty, main > [role=status], [aria-busy=true]');
return !pending && [...document.images].every((image) => image.complete);
