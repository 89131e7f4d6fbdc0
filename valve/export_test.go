package valve

// Sharing makes all files of the tests share one runtime, which takes long to make.
var Sharing Option = sharing
